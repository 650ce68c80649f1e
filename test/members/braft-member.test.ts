import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { MemberAdapter } from '../../activities/raft-adapters/member-adapter.ts';
import { configuredAdapters } from '../../activities/raft-adapters/registry.ts';
import { agentConfigSchema } from '../../schemas/agent-config.ts';

const script = resolve('examples/braft/braft-member.mjs');
const peers = ['127.0.0.1:8101:0:0', '127.0.0.1:8102:0:0', '127.0.0.1:8103:0:0'];

/** As braft's NodeImpl::describe (commit ab0017f) prints a node, its mixed line ends too. */
function page(port: number, node: { state: string; lines?: string[]; confIndex?: string }): string {
  const { state, lines = [], confIndex = '3' } = node;
  const other = 'peer_id: 127.0.0.1:1:7:0\r\nstate: FOLLOWER\r\nterm: 1\r\n\r\n';
  const own = [
    `peer_id: 127.0.0.1:${port}:0:0`,
    `state: ${state}`,
    'readonly: 0',
    'term: 9007199254740993',
    `conf_index: ${confIndex}`,
    `peers: ${peers.join(' ')}`,
    ...lines,
    'election_timer: timeout(1000ms) SCHEDULING(in 577ms)',
    'vote_timer: timeout(1000ms) STOPPED',
    'stepdown_timer: timeout(1000ms) STOPPED',
    'snapshot_timer: timeout(3600000ms) SCHEDULING(in 277280ms)',
    'storage: [1, 18014398509481985]\ndisk_index: 18014398509481985',
    'known_applied_index: 18014398509481983\nlast_log_id: (index=18014398509481985,term=7)',
    'state_machine: Idle\nlast_committed_index: 18014398509481984',
    'last_snapshot_index: 0',
    'last_snapshot_term: 0',
    'snapshot_status: IDLE',
    '',
  ].join('\r\n');
  return `[kv]\r\n${other}${own}\r\n`;
}

describe('the commands for braft', () => {
  let directory: string;
  let server: Server;
  let port: number;
  let shown: string;
  let cli: string;
  let adapter: MemberAdapter;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'braft-member-'));
    server = createServer(({ url }, response) => {
      if (url === '/raft_stat/kv?console=1') response.end(shown);
      else response.writeHead(404).end();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    port = typeof address === 'object' && address !== null ? address.port : 0;
    cli = join(directory, 'braft_cli');
    const command = (name: string, ...more: string[]) => ({
      exec: [
        process.execPath,
        script,
        name,
        '--peer',
        `127.0.0.1:${port}:0`,
        '--group',
        'kv',
      ].concat(more),
    });
    const config = agentConfigSchema.parse({
      host: 'h1',
      roots: ['/data'],
      clusters: {
        kv: {
          adapter: {
            kind: 'exec',
            status: command('status'),
            transferLeadership: command('transfer', '--braft-cli', cli),
          },
        },
      },
    });
    const made = configuredAdapters(config)({ cluster: 'kv', member: 'n1' });
    if (made === null) throw new Error('no adapter');
    adapter = made;
  });

  afterEach(async () => {
    server.closeAllConnections();
    server.close();
    await rm(directory, { recursive: true });
  });

  const view = {
    term: '9007199254740993',
    commitIndex: '18014398509481984',
    appliedIndex: '18014398509481983',
    lastIndex: '18014398509481985',
    members: peers.map((raftId) => ({ raftId, voter: true })),
    changePending: false,
  };

  test('read a leader off its page, every index exact', async () => {
    shown = page(port, { state: 'LEADER', lines: ['changing_conf: NO    stage: STAGE_NONE'] });
    const leader = `127.0.0.1:${port}:0:0`;
    expect(await adapter.view()).toEqual({ ...view, role: 'leader', leader });
  });

  test('read a follower, and whom it follows', async () => {
    const following = ['leader: 127.0.0.1:8102:0:0', 'last_msg_to_now: 42'];
    shown = page(port, { state: 'FOLLOWER', lines: following });
    expect(await adapter.view()).toEqual({ ...view, role: 'follower', leader: peers[1] });
    shown = page(port, { state: 'FOLLOWER', lines: ['leader: 0.0.0.0:0:0:0'] });
    expect(await adapter.view()).toMatchObject({ role: 'follower', leader: null });
    shown = page(port, { state: 'ERROR' });
    expect(await adapter.view()).toMatchObject({ role: 'unknown', leader: null });
  });

  test.each([
    ['the leader makes', { state: 'LEADER', lines: ['changing_conf: YES    stage: STAGE_JOINT'] }],
    ['lies in its log', { state: 'FOLLOWER', confIndex: '18014398509481985' }],
    ['is joint', { state: 'FOLLOWER', lines: [`old_peers: ${peers.join(' ')}`] }],
  ])('show a change of configuration that %s as pending', async (_what, node) => {
    shown = page(port, node);
    expect(await adapter.view()).toMatchObject({ changePending: true });
  });

  test('say what is missing on the page', async () => {
    shown = page(port, { state: 'FOLLOWER' }).replace(/^last_committed_index.*$/m, '');
    await expect(adapter.view()).rejects.toThrow(/has no line "last_committed_index"/);
    shown = '[kv]\r\n';
    await expect(adapter.view()).rejects.toThrow(/names no node .* of group kv/);
  });

  test('have braft_cli hand over, to whom the agent says, among the peers of the page', async () => {
    shown = page(port, { state: 'LEADER' });
    await writeFile(cli, `#!/bin/sh\necho "$@" > ${directory}/asked; exit 0\n`);
    await chmod(cli, 0o755);
    await adapter.transferLeadership?.('127.0.0.1:8102:0:0');
    const asked = (await readFile(join(directory, 'asked'), 'utf8')).trim();
    const flags = ['--group=kv', '--peer=127.0.0.1:8102:0:0', `--conf=${peers.join(',')}`];
    expect(asked).toBe(`transfer_leader ${flags.join(' ')} --timeout_ms=3000 --max_retry=0`);

    await writeFile(cli, '#!/bin/sh\necho EBUSY >&2; exit 255\n');
    await expect(adapter.transferLeadership?.('127.0.0.1:8102:0:0')).rejects.toThrow(
      /EBUSY\s+braft_cli transfer_leader failed: 255/,
    );
  });
});
