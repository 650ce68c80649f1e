// Starts the example's cluster on this machine: for each node a storage host and the node itself,
// each a process of its own, started again when it ends. Ctrl-C stops all.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(dirname(here));

/** Between the end of a process and its next start. */
const restartMs = 200;
/** A node that its host keeps waiting ends after 5 s by itself. */
const stopMs = 8000;

const { values: options } = parseArgs({
  options: {
    /** Where hosts keep everything; a cluster that was there before goes on. */
    data: { type: 'string' },
    /** The first port; each node takes two. */
    port: { type: 'string', default: '8101' },
    /** Of n1, n2, …: the storage family that each begins with. */
    families: { type: 'string', default: 'local,local,local' },
    /** Nodes that run besides, and wait to be added. */
    spares: { type: 'string', default: '0' },
    /** Entries that a node keeps after a snapshot; 0 is what hashicorp/raft keeps. */
    'trailing-logs': { type: 'string', default: '0' },
    /** Of a follower that hears no leader, such as 3s; 0s is hashicorp/raft's own. */
    'election-timeout': { type: 'string', default: '0s' },
  },
});

/** Every process that should run, by its name. */
const running = new Map();
let stopping = false;

function build() {
  if (!existsSync(join(root, 'dist', 'cli', 'main.js')))
    fail('run "npm ci && npm run build" before');
  const program = join(root, '.cache', 'hashicorp-raft');
  const args = ['build', '-o', program, '.'];
  const { status, error } = spawnSync('go', args, { cwd: here, stdio: 'inherit' });
  if (status !== 0) fail(`go build failed (Go 1.26 is needed): ${error ?? status}`);
  return program;
}

function fail(reason) {
  console.error(`Cannot start the cluster: ${reason}`);
  process.exit(1);
}

function layout() {
  const families = options.families.split(',');
  const spares = Array.from({ length: Number(options.spares) }, () => families[0]);
  const data = options.data ?? mkdtempSync(join(tmpdir(), 'quorumshift-kv-'));
  return [...families, ...spares].map((family, i) => {
    const port = Number(options.port) + 2 * i;
    const directory = join(data, `n${i + 1}`);
    return {
      id: `n${i + 1}`,
      family,
      directory,
      isSpare: i >= families.length,
      socket: join(directory, 'host.sock'),
      address: `127.0.0.1:${port}`,
      http: `http://127.0.0.1:${port + 1}`,
    };
  });
}

/**
 * A machine of its own to Quorumshift: an agent there migrates the node while it runs, and replaces
 * its program.
 */
function writeAgent({ id, directory, socket, http }) {
  const hook = (name) => ({
    exec: [process.execPath, join(here, 'node-hook.mjs'), name, directory, http],
    timeoutSeconds: 30,
  });
  const agent = {
    host: id,
    stateDir: join(directory, 'state'),
    hostAdminSocket: socket.replace(/\.sock$/, '-admin.sock'),
    roots: [directory],
    reserveBytes: 0,
    hooks: {
      stop: hook('stop'),
      replace: hook('replace'),
      start: hook('start'),
      probe: hook('probe'),
    },
    clusters: { kv: { adapter: { kind: 'http', url: http } } },
  };
  writeFileSync(join(directory, 'agent.json'), JSON.stringify(agent, null, 2));
}

function hostOf({ id, family, directory, socket }) {
  mkdirSync(directory, { recursive: true });
  const config = join(directory, 'host.json');
  const uri = `${family}://${directory}/storage`;
  const replicas = [{ cluster: 'kv', member: id, uri, create: true }];
  const stateDir = join(directory, 'state');
  writeFileSync(config, JSON.stringify({ stateDir, socket, replicas }, null, 2));
  const program = join(root, 'bin', 'quorumshift.mjs');
  return { command: process.execPath, args: [program, 'host', '--config', config] };
}

/** The node's own link to its program; one that was replaced before stays so. */
function nodeOf(built, { id, directory, address, socket, isSpare }, members) {
  const program = join(directory, 'program');
  if (!existsSync(program)) {
    symlinkSync(built, join(directory, 'program-before'));
    symlinkSync('program-before', program);
  }
  const first = members.filter((member) => !member.isSpare);
  const bootstrap = first.map((member) => `${member.id}=${member.address}`).join(',');
  const trailing = options['trailing-logs'];
  const election = options['election-timeout'];
  const args = ['-id', id, '-address', address, '-socket', socket];
  args.push('-trailing-logs', trailing, '-election-timeout', election);
  return {
    command: program,
    args: isSpare ? args : [...args, '-bootstrap', bootstrap],
    directory,
  };
}

/** Runs it, and again whenever it ends: a node while no hook keeps it down. */
function supervise(name, { command, args, directory = null }) {
  if (stopping) return;
  const again = () => supervise(name, { command, args, directory });
  if (directory !== null && existsSync(join(directory, 'down'))) {
    setTimeout(again, restartMs);
    return;
  }
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'pipe'] });
  running.set(name, child);
  if (directory !== null) writeFileSync(join(directory, 'node.pid'), String(child.pid));
  console.log(`${name} runs, pid ${child.pid}`);
  createInterface(child.stderr).on('line', (line) => console.error(`[${name}] ${line}`));
  child.once('exit', (code, signal) => {
    running.delete(name);
    if (stopping) return;
    console.log(`${name} ended (${signal ?? code})`);
    setTimeout(again, restartMs);
  });
}

/** Nodes first: they still need their hosts. */
async function stop() {
  if (stopping) return;
  stopping = true;
  for (const kind of ['node', 'host']) {
    const ending = [...running].filter(([name]) => name.endsWith(kind)).map(([, child]) => child);
    const ends = ending.map((child) => new Promise((resolve) => child.once('exit', resolve)));
    for (const child of ending) child.kill('SIGTERM');
    const kill = setTimeout(() => {
      for (const child of ending) child.kill('SIGKILL');
    }, stopMs);
    await Promise.all(ends);
    clearTimeout(kill);
  }
}

const program = build();
const members = layout();
for (const member of members) {
  supervise(`${member.id} host`, hostOf(member));
  writeAgent(member);
  supervise(`${member.id} node`, nodeOf(program, member, members));
}
process.on('SIGINT', () => void stop());
process.on('SIGTERM', () => void stop());
for (const { id, http, family, directory, isSpare } of members) {
  const spare = isSpare ? ', not a member yet' : '';
  console.log(`${id} answers at ${http} (${family} storage in ${directory}${spare})`);
}
const [{ id, family, directory }] = members;
const quorumshift = `node ${join(root, 'bin', 'quorumshift.mjs')}`;
const source = `${family}://${directory}/storage`;
const target = `sqlite://${directory}/moved`;
const seen = `--state-dir ${directory}/state --socket ${directory}/host-admin.sock`;
console.log(`migrate ${id} while it runs:
  ${quorumshift} dev --config ${directory}/agent.json
  ${quorumshift} start kv/${id} --host ${id} --source ${source} --target ${target}
  ${quorumshift} status -w kv/${id} ${seen}`);
