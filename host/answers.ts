/** Calls as functions that answer or throw; what they throw becomes the call's status. */
import type { sendUnaryData, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';

import { grpcError } from './grpc-errors.ts';

export function answered<Request, Response>(handle: (request: Request) => Promise<Response>) {
  return (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>): void => {
    void answer(callback, () => handle(call.request));
  };
}

export async function answer<Response>(
  callback: sendUnaryData<Response>,
  handle: () => Promise<Response>,
): Promise<void> {
  let response: Response;
  try {
    response = await handle();
  } catch (error) {
    callback(grpcError(error));
    return;
  }
  callback(null, response);
}

export function streamed<Request, Response>(
  handle: (call: ServerWritableStream<Request, Response>) => Promise<void>,
) {
  return (call: ServerWritableStream<Request, Response>): void => {
    void sendAll(call, handle);
  };
}

async function sendAll<Request, Response>(
  call: ServerWritableStream<Request, Response>,
  handle: (call: ServerWritableStream<Request, Response>) => Promise<void>,
): Promise<void> {
  try {
    await handle(call);
    call.end();
  } catch (error) {
    call.emit('error', grpcError(error));
  }
}
