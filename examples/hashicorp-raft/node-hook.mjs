// The hooks of a node of run.mjs, as its agent runs them:
//
//   node node-hook.mjs stop|replace|start|probe <directory> <http>
//
// The launcher starts <directory>/program, a link, unless <directory>/down is there.
import { once } from 'node:events';
import {
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

const pollMs = 50;
/** A node that its host keeps waiting ends after 5 s by itself. */
const endsWithinMs = 8000;

const [hook, directory, http] = process.argv.slice(2);
const program = join(directory, 'program');
const down = join(directory, 'down');

await { stop, replace, start, probe }[hook]();

/** Down until `start`, whatever ends it. */
async function stop() {
  writeFileSync(down, '');
  const until = Date.now() + endsWithinMs;
  for (let pid = nodePid(); pid !== null; pid = nodePid()) {
    process.kill(pid, Date.now() < until ? 'SIGTERM' : 'SIGKILL');
    await wait(pollMs);
  }
}

/** An operator has put the next program beside the one of before. */
function replace() {
  const wanted = process.env.QUORUMSHIFT_DIRECTION === 'back' ? 'before' : 'next';
  const link = join(directory, `program-${process.pid}`);
  symlinkSync(`program-${wanted}`, link);
  renameSync(link, program);
}

function start() {
  rmSync(down, { force: true });
}

/** Until it runs the program that is meant and knows its leader; the agent's time-out ends it. */
async function probe() {
  while (!(await hasRejoined())) await wait(pollMs);
}

async function hasRejoined() {
  const pid = nodePid();
  if (pid === null || exeOf(pid) !== realpathSync(program)) return false;
  const raft = await statusOf().catch(() => null);
  return (
    raft !== null && raft.leader !== null && ['leader', 'follower', 'learner'].includes(raft.role)
  );
}

async function statusOf() {
  const [response] = await once(request(`${http}/status`, { agent: false }).end(), 'response');
  return JSON.parse(Buffer.concat(await response.toArray()).toString()).raft;
}

/** Of the node that runs; null where none does. A pid may have been given to another process. */
function nodePid() {
  try {
    const pid = Number(readFileSync(join(directory, 'node.pid'), 'utf8'));
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return command[0] === program ? pid : null;
  } catch {
    return null;
  }
}

function exeOf(pid) {
  try {
    return realpathSync(`/proc/${pid}/exe`);
  } catch {
    return null;
  }
}
