import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { AgentContext } from '../../activities/agent-context.ts';
import type { MemberRequest } from '../../activities/contract.ts';
import { readMember, transferLeadership } from '../../activities/read-member.ts';
import { contractVersion } from '../../core/ids.ts';
import type { RaftView } from '../../core/raft-view.ts';
import { agentConfigSchema } from '../../schemas/agent-config.ts';
import { recordStore } from '../../activities/agent-context.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { machineContext, MachineDriver, migrationInput, replica } from '../steps/machine-driver.ts';

const families = defaultFamilies();

const view: RaftView = {
  role: 'follower',
  term: '7',
  leader: 'm2',
  commitIndex: '12',
  appliedIndex: '12',
  lastIndex: '12',
  members: [{ raftId: 'm1', voter: true }],
  changePending: false,
};

let root: string;
let context: AgentContext;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'quorumshift-member-'));
  await mkdir(join(root, 'data'));
  context = {
    ...machineContext(nodeFileLayer, { root, families }),
    memberAdapter: () => ({ view: async () => view, transferLeadership: null }),
  };
});

afterEach(async () => {
  await rm(root, { recursive: true });
});

function request(given: Partial<MemberRequest> = {}): MemberRequest {
  return { contractVersion, agentId: context.agentId, replica, ...given };
}

function failing(reason: string): AgentContext {
  const refuse = async () => {
    throw new Error(reason);
  };
  return { ...context, memberAdapter: () => ({ view: refuse, transferLeadership: refuse }) };
}

describe('a member', () => {
  test('that has no record answers for itself', async () => {
    expect(await readMember(context, request())).toEqual({
      raft: view,
      problem: null,
      binding: null,
      sharesProcessWith: [],
    });
  });

  test('that gives no answer is told with its record, and why', async () => {
    const source = families.expand(`local://${join(root, 'data/a')}`);
    await (await families.open(source, 'create', { files: nodeFileLayer })).close();
    const input = migrationInput('m1', {
      source,
      target: families.expand(`sqlite://${join(root, 'data/b')}`),
    });
    const driver = new MachineDriver(context, { name: 'until the copy', input });
    while (driver.memory.view?.phase !== 'copy') await driver.perform(await driver.next());

    const answer = await readMember(failing('connect ECONNREFUSED'), request());
    expect(answer).toMatchObject({ raft: null, problem: 'connect ECONNREFUSED' });
    expect(answer.binding).toMatchObject({
      migrationId: 'm1',
      phase: 'copy',
      direction: 'forward',
    });

    await driver.drive();
    expect((await readMember(context, request())).binding).toMatchObject({
      migrationId: null,
      phase: 'ended',
      primary: { log: input.target.log },
    });
  });

  test('without an adapter has that as its problem', async () => {
    const answer = await readMember({ ...context, memberAdapter: () => null }, request());
    expect(answer.raft).toBeNull();
    expect(answer.problem).toMatch(/no adapter for cluster c1/);
  });

  test('whose adapter tells much has a short problem', async () => {
    const { problem } = await readMember(failing('why '.repeat(10_000)), request());
    expect(problem?.length).toBe(500);
  });

  test('whose record cannot be read is an error, not a member without one', async () => {
    const { directory } = recordStore(context, request());
    await mkdir(directory.root, { recursive: true });
    await writeFile(directory.record, 'garbage');
    await expect(readMember(context, request())).rejects.toMatchObject({ code: 'record.corrupt' });
  });

  test('names those that its process serves too [ROLL-3]', async () => {
    const config = agentConfigSchema.parse({
      ...context.config,
      replicas: {
        'c1/m1': { process: 'p1' },
        'c2/m1': { process: 'p1' },
        'c3/m1': { process: 'p2' },
        'c4/m1': {},
        'c5/m1': { process: 'p1' },
      },
    });
    const shared = async (cluster: string) => {
      const asked = request({ replica: { cluster, member: 'm1' } });
      const { sharesProcessWith } = await readMember({ ...context, config }, asked);
      return sharesProcessWith.map((other) => other.cluster);
    };
    expect(await shared('c1')).toEqual(['c2', 'c5']);
    expect(await shared('c3')).toEqual([]);
    expect(await shared('c4')).toEqual([]);
  });
});

describe('what is meant for another agent, or speaks another contract,', () => {
  const other = '11111111-1111-4111-8111-111111111111';

  test('is refused before anything is asked', async () => {
    const unasked = failing('it was asked');
    for (const call of [
      (asked: MemberRequest) => readMember(unasked, asked),
      (asked: MemberRequest) => transferLeadership(unasked, { ...asked, to: 'm2' }),
    ]) {
      const wrongAgent = request({ agentId: other });
      await expect(call(wrongAgent)).rejects.toMatchObject({ code: 'agent.wrong-machine' });
      const wrongVersion = request({ contractVersion: contractVersion + 1 });
      await expect(call(wrongVersion)).rejects.toMatchObject({ code: 'agent.contract-version' });
    }
  });

  test('is answered where no agent is pinned', async () => {
    expect(await readMember(context, request({ agentId: null }))).toMatchObject({ raft: view });
  });
});

describe('a transfer of the leadership', () => {
  test('that fails says of whom, to whom and why', async () => {
    const asked = transferLeadership(failing('it answers 307'), { ...request(), to: 'm2' });
    await expect(asked).rejects.toMatchObject({
      code: 'member.transfer-failed',
      message: 'Cannot hand the leadership over from c1/m1 to m2: it answers 307',
    });
  });

  test.each([
    ['no adapter', { memberAdapter: () => null }],
    ['an adapter that cannot', {}],
  ])('is refused where there is %s', async (_what, changed) => {
    const asked = transferLeadership({ ...context, ...changed }, { ...request(), to: 'm2' });
    await expect(asked).rejects.toMatchObject({ code: 'member.no-adapter' });
  });
});
