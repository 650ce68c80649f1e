/**
 * Restarts a replica at once, whatever ended it: `node supervisor.js <configuration file>`. Nobody
 * told it that a migration is under way; the path fence alone keeps the replica out. It ends with
 * its standard input, so that it never outlives a test.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const replica = fileURLToPath(new URL('replica-process.js', import.meta.url));
let stopping = false;
let child = start();
process.stdin.resume().once('end', () => {
  stopping = true;
  child.once('exit', () => process.exit());
  child.kill('SIGKILL');
});

function start() {
  const started = spawn(process.execPath, [replica, process.argv[2] ?? ''], { stdio: 'ignore' });
  started.once('exit', () => {
    if (!stopping) child = start();
  });
  return started;
}
