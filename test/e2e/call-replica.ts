/** One question to the small replica of these tests, over its unix socket. */
import { request } from 'node:http';

/** @throws Error when nobody serves, or the replica refuses */
export function callReplica(socketPath: string, path: string): Promise<Record<string, string>> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, agent: false, timeout: 5_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => (text += piece));
      response.once('end', () => {
        if (response.statusCode === 200) resolve(JSON.parse(text));
        else reject(new Error(text));
      });
    });
    asked.once('timeout', () => asked.destroy(new Error('no answer within 5 s')));
    asked.once('error', reject);
    asked.end();
  });
}
