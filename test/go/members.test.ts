import { join } from 'node:path';

import { afterEach, describe, expect, test } from 'vitest';

import { quiet } from '../../core/log.ts';
import type { MemberAnswer } from '../../activities/contract.ts';
import { readMember, transferLeadership } from '../../activities/read-member.ts';
import { contractVersion } from '../../core/ids.ts';
import type { RaftView } from '../../core/raft-view.ts';
import { readAgentConfig } from '../../worker/agent-configuration.ts';
import { agentContext } from '../../worker/agent-worker.ts';
import { missing } from '../setup/toolchain.ts';
import { KvCluster } from './kv-cluster.ts';

const members = ['n1', 'n2', 'n3'];

let cluster: KvCluster | null = null;

afterEach(async () => {
  await cluster?.stop();
  cluster = null;
});

async function started(spares = 0): Promise<KvCluster> {
  const kv = await KvCluster.start({ spares });
  cluster = kv;
  const [first = ''] = kv.nodes;
  await kv.until('the cluster commits', () => kv.write(first, 'first', 'value'));
  return kv;
}

/** The agent of this node's machine, as the launcher has configured it. */
async function agentOf(kv: KvCluster, member: string) {
  const context = await agentContext(
    await readAgentConfig(join(kv.directory(member), 'agent.json')),
    quiet,
  );
  const { agentId } = context;
  return { context, request: { contractVersion, agentId, replica: { cluster: 'kv', member } } };
}

async function read(kv: KvCluster, member: string): Promise<MemberAnswer> {
  const { context, request } = await agentOf(kv, member);
  return readMember(context, request);
}

async function viewOf(kv: KvCluster, member: string): Promise<RaftView> {
  const { raft, problem } = await read(kv, member);
  if (raft === null) throw new Error(`${member}: ${problem}`);
  return raft;
}

/** All agree on who leads, and know all that is committed. */
async function settled(kv: KvCluster): Promise<{ leader: string; views: RaftView[] }> {
  let views: RaftView[] = [];
  await kv.until('all agree', async () => {
    views = await Promise.all(members.map((member) => viewOf(kv, member)));
    const same = (of: (view: RaftView) => string | null) => new Set(views.map(of)).size === 1;
    const isLed = views.filter(({ role }) => role === 'leader').length === 1;
    const isUpToDate = views.every(({ commitIndex, lastIndex }) => commitIndex === lastIndex);
    return (
      isLed && isUpToDate && same(({ leader }) => leader) && same(({ lastIndex }) => lastIndex)
    );
  });
  return { leader: views[0]?.leader ?? '', views };
}

async function addMember(kv: KvCluster, leader: string, member: object): Promise<Response> {
  const node = kv.nodes[members.indexOf(leader)];
  return fetch(`${node}/members`, { method: 'POST', body: JSON.stringify(member) });
}

describe.skipIf(missing('go'))('a real cluster asked by its agents', () => {
  test('agrees about itself; its leadership goes where it is told to [ROLL-2] [ROLL-3]', async () => {
    const kv = await started();
    const { leader, views } = await settled(kv);
    const voters = members.map((raftId) => ({ raftId, voter: true }));
    for (const [i, view] of views.entries()) {
      const role = members[i] === leader ? 'leader' : 'follower';
      expect(view).toMatchObject({ role, members: voters, changePending: false });
      expect(Number(view.appliedIndex)).toBeGreaterThan(0);
    }
    const [to = '', other = ''] = members.filter((member) => member !== leader);

    const { context, request } = await agentOf(kv, leader);
    await transferLeadership(context, { ...request, to });
    expect((await settled(kv)).leader).toBe(to);

    const late = await agentOf(kv, other);
    const refused = transferLeadership(late.context, { ...late.request, to: leader });
    await expect(refused).rejects.toMatchObject({
      code: 'member.transfer-failed',
      message: expect.stringContaining('it answers 307'),
    });
  }, 120_000);

  test('has a problem that is named where a member hangs or is gone [ROLL-2]', async () => {
    const kv = await started();
    const { leader } = await settled(kv);
    const [hangs = '', gone = ''] = members.filter((member) => member !== leader);
    kv.signal(`${hangs} node`, 'SIGSTOP');
    kv.signal(`${gone} host`, 'SIGSTOP');
    kv.signal(`${gone} node`, 'SIGKILL');
    expect(await read(kv, hangs)).toMatchObject({
      raft: null,
      problem: 'it did not answer within 4 s',
      // Its storage host has made a record; no migration is in it.
      binding: { migrationId: null, phase: null },
    });
    const answer = await read(kv, gone);
    expect(answer.problem).toMatch(/ECONNREFUSED|ECONNRESET|socket hang up/);
    for (const name of [`${hangs} node`, `${gone} host`]) kv.signal(name, 'SIGCONT');
    await settled(kv);
  }, 120_000);

  test('shows who only learns, and a change that is not committed until it is [ROLL-3]', async () => {
    const kv = await started(1);
    const { leader } = await settled(kv);
    expect(await viewOf(kv, 'n4')).toMatchObject({ role: 'unknown', leader: null, members: [] });

    const spare = { id: 'n4', address: `127.0.0.1:${kv.port + 6}`, voter: false };
    expect((await addMember(kv, leader, spare)).status).toBe(200);
    await kv.until('n4 learns', async () => {
      const view = await viewOf(kv, 'n4');
      return view.role === 'learner' && !view.changePending && view.leader === leader;
    });
    expect((await viewOf(kv, leader)).members).toContainEqual({ raftId: 'n4', voter: false });

    const followers = members.filter((member) => member !== leader);
    for (const member of followers) kv.signal(`${member} node`, 'SIGSTOP');
    const adding = addMember(kv, leader, { ...spare, voter: true });
    await kv.until('the change is pending', async () => {
      const { changePending, members: known } = await viewOf(kv, leader);
      return changePending && known.every(({ voter }) => voter);
    });
    for (const member of followers) kv.signal(`${member} node`, 'SIGCONT');
    await (await adding).body?.cancel();
    await settled(kv);
    for (const view of await Promise.all(members.map((member) => viewOf(kv, member)))) {
      expect(view.changePending).toBe(false);
    }
  }, 120_000);
});
