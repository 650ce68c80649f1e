import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import type { MemberAdapter } from '../../activities/raft-adapters/member-adapter.ts';
import { configuredAdapters } from '../../activities/raft-adapters/registry.ts';
import type { RaftView } from '../../core/raft-view.ts';
import { agentConfigSchema } from '../../schemas/agent-config.ts';
import { eventually } from '../e2e/migration-environment.ts';

const view: RaftView = {
  role: 'leader',
  term: '9007199254740993',
  leader: 'n1',
  commitIndex: '18446744073709551615',
  appliedIndex: '18446744073709551614',
  lastIndex: '18446744073709551615',
  members: [
    { raftId: 'n1', voter: true },
    { raftId: '10.0.0.2:8100:0:0', voter: false },
  ],
  changePending: false,
};

const agent = { host: 'h1', roots: ['/data'] };

/** As the agent makes it, of this configuration. */
function adapterOf(adapter: unknown): MemberAdapter {
  const config = agentConfigSchema.parse({ ...agent, clusters: { kv: { adapter } } });
  const made = configuredAdapters(config)({ cluster: 'kv', member: 'n1' });
  if (made === null) throw new Error('no adapter');
  return made;
}

async function problemOf(adapter: MemberAdapter): Promise<string> {
  const answer = await adapter.view().then(JSON.stringify, (error: unknown) => error);
  if (!(answer instanceof Error)) throw new Error(`it answers ${String(answer)}`);
  return answer.message;
}

/** Bad views, and what is said of each. */
const notViews: [string, unknown, RegExp][] = [
  ['another shape', { state: 'Leader' }, /no member's view.*role/],
  ['an index that is a number', { ...view, commitIndex: 7 }, /no member's view.*commitIndex/],
  ['an index above 2^64 - 1', { ...view, lastIndex: '18446744073709551616' }, /at most 2\^64/],
  ['a negative term', { ...view, term: '-1' }, /decimal digits/],
  ['an unknown role', { ...view, role: 'king' }, /role/],
  ['a member twice', { ...view, members: [view.members[0], view.members[0]] }, /once/],
  ['nothing about a pending change', { ...view, changePending: undefined }, /changePending/],
];

describe('an adapter that runs a command', () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'members-'));
  });

  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(directory, { recursive: true });
  });

  function status(script: string, timeoutSeconds = 4): MemberAdapter {
    const exec = ['/bin/sh', '-c', script];
    return adapterOf({ kind: 'exec', status: { exec, timeoutSeconds } });
  }

  test('takes the view that it prints, every u64 exact, what it says besides left out', async () => {
    const printed = JSON.stringify({ ...view, uptime: 7 });
    expect(await status(`printf '%s' '${printed}'`).view()).toEqual(view);
  });

  test.each(notViews)('says what is wrong with %s', async (_what, answer, said) => {
    const adapter = status(`printf '%s' '${JSON.stringify(answer)}'`);
    expect(await problemOf(adapter)).toMatch(said);
  });

  test.each([
    ['garbage', 'echo hello', /no JSON: "hello\\n"/],
    ['nothing', 'true', /no JSON: ""/],
    ['a failure', 'echo why >&2; exit 3', /^\/bin\/sh: exit code 3: why$/],
    ['its end by a signal', 'kill -9 $$', /ended by SIGKILL/],
  ])('says that it got %s', async (_what, script, said) => {
    expect(await problemOf(status(script))).toMatch(said);
  });

  test('says that a program is not there', async () => {
    const adapter = adapterOf({ kind: 'exec', status: { exec: [join(directory, 'none')] } });
    expect(await problemOf(adapter)).toMatch(/none cannot be started: .*ENOENT/);
  });

  test('kills one that runs too long, with what it has started', async () => {
    const script = `sleep 60 & echo $! > ${directory}/pid; wait`;
    expect(await problemOf(status(script, 0.5))).toMatch(/ran longer than 0.5 s and was killed/);
    const pid = (await readFile(join(directory, 'pid'), 'utf8')).trim();
    await eventually('the child is gone', () => isGone(pid));
  });

  test('kills one whose answer has no end, in memory that it does not fill', async () => {
    expect(await problemOf(status('yes'))).toMatch(/printed more than 262144 bytes/);
  });

  test('sees which member is meant, and nothing of the variables of the agent', async () => {
    vi.stubEnv('AGENTS_SECRET', 'secret');
    const script = `echo "$QUORUMSHIFT_CLUSTER/$QUORUMSHIFT_MEMBER [$AGENTS_SECRET]"`;
    expect(await problemOf(status(script))).toContain('kv/n1 []');
  });

  test('tells the leader to hand over to whom it is given', async () => {
    const exec = ['/bin/sh', '-c', `printf '%s' "$QUORUMSHIFT_TO" > ${directory}/to`];
    const never = { exec: ['false'] };
    const adapter = adapterOf({ kind: 'exec', status: never, transferLeadership: { exec } });
    await adapter.transferLeadership?.('10.0.0.2:8100; rm -rf /');
    expect(await readFile(join(directory, 'to'), 'utf8')).toBe('10.0.0.2:8100; rm -rf /');
    expect(adapterOf({ kind: 'exec', status: never }).transferLeadership).toBeNull();
  });
});

async function isGone(pid: string): Promise<boolean> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  return text === null || text[text.lastIndexOf(')') + 2] === 'Z';
}

describe('an adapter over HTTP', () => {
  let server: Server | null = null;

  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
    server = null;
  });

  async function asking(answer: RequestListener, timeoutSeconds = 4): Promise<MemberAdapter> {
    server = createServer(answer).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const url = `http://127.0.0.1:${address.port}/raft/`;
    return adapterOf({ kind: 'http', url, timeoutSeconds });
  }

  function statusOf(body: unknown): RequestListener {
    return ({ url }, response) => {
      if (url === '/raft/status') response.end(JSON.stringify(body));
      else response.writeHead(404).end(`${url} is not here`);
    };
  }

  test('takes the view from the object "raft", every u64 exact', async () => {
    const adapter = await asking(statusOf({ id: 'n1', term: 1e300, raft: view }));
    expect(await adapter.view()).toEqual(view);
  });

  test.each(notViews)('says what is wrong with %s', async (_what, raft, said) => {
    expect(await problemOf(await asking(statusOf({ raft })))).toMatch(said);
  });

  test('says what else was answered', async () => {
    const adapter = await asking((_request, response) => response.writeHead(503).end('no leader'));
    expect(await problemOf(adapter)).toBe('it answers 503: no leader');
    await expect(adapter.transferLeadership?.('n2')).rejects.toThrow('it answers 503: no leader');
  });

  test('follows no redirect: another member would answer for this one', async () => {
    const adapter = await asking(({ url }, response) => {
      if (url === '/elsewhere') response.end(JSON.stringify({ raft: view }));
      else response.writeHead(307, { location: '/elsewhere' }).end();
    });
    expect(await problemOf(adapter)).toMatch(/^it answers 307/);
    await expect(adapter.transferLeadership?.('n2')).rejects.toThrow('it answers 307');
  });

  test.each<[string, RequestListener]>([
    ['never answers', () => {}],
    ['begins an answer and hangs', (_request, response) => void response.write('{"raft":')],
  ])('gives one up that %s', async (_what, answer) => {
    expect(await problemOf(await asking(answer, 0.3))).toBe('it did not answer within 0.3 s');
  });

  test('gives one up whose answer has no end', async () => {
    const adapter = await asking((_request, response) => {
      const more = () => {
        while (response.write(Buffer.alloc(64 * 1024, 32)));
      };
      response.on('drain', more).on('error', () => {});
      more();
    });
    expect(await problemOf(adapter)).toMatch(/above 262144 bytes/);
  });

  test('says that nobody listens', async () => {
    const adapter = await asking(statusOf({}));
    server?.close();
    if (server !== null) await once(server, 'close');
    expect(await problemOf(adapter)).toMatch(/ECONNREFUSED/);
  });

  test('names the member that is to lead in the query', async () => {
    let asked = '';
    const adapter = await asking(({ method, url }, response) => {
      asked = `${method} ${url}`;
      response.end('{}');
    });
    await adapter.transferLeadership?.('a/b&c');
    expect(asked).toBe('POST /raft/leader-transfer?to=a%2Fb%26c');
  });
});

describe("the agent's configuration", () => {
  test('of before has no adapters, and is valid', () => {
    const hooks = { stop: { exec: ['systemctl', 'stop', 'kv'] } };
    const config = agentConfigSchema.parse({ ...agent, hooks, replicas: { 'kv/n1': { hooks } } });
    expect(configuredAdapters(config)({ cluster: 'kv', member: 'n1' })).toBeNull();
  });

  test("gives a replica's own adapter before its cluster's", async () => {
    const exec = (term: number) => {
      const printed = JSON.stringify({ ...view, term: String(term) });
      return { kind: 'exec', status: { exec: ['/bin/echo', printed] } };
    };
    const adapters = configuredAdapters(
      agentConfigSchema.parse({
        ...agent,
        clusters: { kv: { adapter: exec(1) } },
        replicas: { 'kv/n2': { adapter: exec(2) }, 'kv/n3': { process: 'p1' } },
      }),
    );
    const term = async (member: string) =>
      (await adapters({ cluster: 'kv', member })?.view())?.term;
    expect(await Promise.all(['n1', 'n2', 'n3'].map(term))).toEqual(['1', '2', '1']);
    expect(adapters({ cluster: 'other', member: 'n1' })).toBeNull();
  });

  test.each([
    ['a kind that nobody knows', { clusters: { kv: { adapter: { kind: 'telnet' } } } }, 'kind'],
    ['no URL', { clusters: { kv: { adapter: { kind: 'http', url: 'n1:80' } } } }, 'url'],
    ['a file', { clusters: { kv: { adapter: { kind: 'http', url: 'file:///a' } } } }, 'url'],
    [
      'more time than a caller has',
      {
        clusters: { kv: { adapter: { kind: 'exec', status: { exec: ['a'], timeoutSeconds: 5 } } } },
      },
      'timeoutSeconds',
    ],
    ['a replica without a member', { replicas: { kv: {} } }, 'replicas'],
  ])('with %s is refused, and says where', (_what, given, where) => {
    const { error } = agentConfigSchema.safeParse({ ...agent, ...given });
    expect(error?.issues.map(({ path }) => path.join('.')).join()).toContain(where);
  });
});
