/**
 * Restarts a replica at once, whatever ended it: `node supervisor.js <configuration file>
 * [program]`. Nobody told it that a migration is under way; the path fence alone keeps the replica
 * out, unless an operator keeps it down by `<configuration file>.down`. It ends with its standard
 * input, so that it never outlives a test.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const [
  configuration = '',
  program = fileURLToPath(new URL('replica-process.js', import.meta.url)),
] = process.argv.slice(2);
/** Between two looks at whether it may be started again. */
const pollMs = 5;
let stopping = false;
let child: ChildProcess | null = null;
start();
process.stdin.resume().once('end', () => {
  stopping = true;
  if (child === null) process.exit();
  child.once('exit', () => process.exit());
  child.kill('SIGKILL');
});

function start(): void {
  child = null;
  if (stopping) return;
  if (existsSync(`${configuration}.down`)) {
    setTimeout(start, pollMs);
    return;
  }
  child = spawn(process.execPath, [program, configuration], { stdio: 'ignore' });
  child.once('exit', start);
}
