/**
 * Asks a member over HTTP, as the cluster of examples/hashicorp-raft answers: `GET <url>/status`,
 * whose object `raft` is the view, and `POST <url>/leader-transfer?to=<raft id>`. A redirect is a
 * failure: the member itself is asked, nobody else.
 */
import { request as requestHttp, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';

import type { AdapterConfig } from '../../schemas/agent-config.ts';
import type { MemberAdapter } from './member-adapter.ts';
import { mostAnswerBytes, parseView } from './parse-view.ts';

/** Of an answer that says why not. */
const shownCharacters = 300;

interface Call {
  readonly method: 'GET' | 'POST';
  readonly url: URL;
  readonly timeoutMs: number;
}

export function httpAdapter(config: AdapterConfig & { readonly kind: 'http' }): MemberAdapter {
  const base = config.url.replace(/\/+$/, '');
  const timeoutMs = config.timeoutSeconds * 1000;
  return {
    view: async () => {
      const url = new URL(`${base}/status`);
      return parseView(await call({ method: 'GET', url, timeoutMs }), raftOf);
    },
    transferLeadership: async (to) => {
      const url = new URL(`${base}/leader-transfer`);
      url.searchParams.set('to', to);
      await call({ method: 'POST', url, timeoutMs });
    },
  };
}

function raftOf(answer: unknown): unknown {
  const given = typeof answer === 'object' && answer !== null && 'raft' in answer;
  return given ? answer.raft : undefined;
}

async function call({ method, url, timeoutMs }: Call): Promise<string> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await answerOf({ method, url, timeoutMs }, signal);
    const text = await textOf(response);
    const { statusCode } = response;
    if (statusCode === 200) return text;
    throw new Error(`it answers ${statusCode}: ${text.trim().slice(0, shownCharacters)}`);
  } catch (cause) {
    if (!signal.aborted) throw cause;
    throw new Error(`it did not answer within ${timeoutMs / 1000} s`, { cause });
  }
}

/** By a connection of its own: one kept alive may belong to a process that has ended since. */
function answerOf({ method, url }: Call, signal: AbortSignal): Promise<IncomingMessage> {
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    request(url, { method, agent: false, signal }, resolve).on('error', reject).end();
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > mostAnswerBytes) throw new Error(`its answer is above ${mostAnswerBytes} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}
