/** What is answered to bytes that are no HTTP request, or one whose headers are too large. */
import type { Socket } from 'node:net';
import { STATUS_CODES } from 'node:http';

import { fail, type QuorumshiftError } from '../core/errors.ts';
import { limits } from './limits.ts';
import { problemOf, problemType } from './problems.ts';

/** For the answer to be read: at once closed, unread bytes would take it away. */
const lingerMs = 2_000;

export function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const problem = problemOf(refusal(error), { instance: 'connection', address: '' });
  const body = JSON.stringify(problem);
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ''}`,
    `content-type: ${problemType}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  // Whoever does not close would keep the place of the request.
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.once('close', () => clearTimeout(timer));
}

function refusal({ code }: NodeJS.ErrnoException): QuorumshiftError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return fail('request.headers-too-large', { bytes: limits.headerBytes });
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    const reason = `it must have come wholly within ${limits.requestMs / 1000} s`;
    return fail('request.invalid', { reason });
  }
  return fail('request.invalid', { reason: 'it is no HTTP request' });
}
