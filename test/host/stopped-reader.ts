/**
 * A client that begins to read the snapshot of kv/n1 and then stops, as a machine that swaps does:
 * until it is sent SIGCONT. Argument: the host's socket. Prints how the call ended.
 */
import { credentials } from '@grpc/grpc-js';

import { StorageHostClient } from '../../host/proto/gen/storage_host.ts';
import { codeOf, replica } from './host-session.ts';

const client = new StorageHostClient(`unix:${process.argv[2]}`, credentials.createInsecure());
const call = client.readSnapshot({ replica: replica('n1') });
call.once('data', () => {
  process.kill(process.pid, 'SIGSTOP');
});
call.resume();
call.once('error', (error) => {
  process.stdout.write(`${codeOf(error)}\n`);
  client.close();
});
