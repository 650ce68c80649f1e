// What a Quorumshift agent asks of a member of a braft group, as commands of its "exec" adapter:
//
//   node braft-member.mjs status   --peer 10.0.0.1:8100:0:0 --group kv
//   node braft-member.mjs transfer --peer 10.0.0.1:8100:0:0 --group kv --braft-cli /opt/braft_cli
//
// braft_cli only gives orders; what a node says of itself it says on its own page, /raft_stat, as
// text. Both are read here as braft's NodeImpl::describe prints them. docs/cluster-adapters.md says
// what braft does not tell.
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

/** Below the adapter's own 4 s, so that the failure names its reason. */
const timeoutMs = 3000;

/** Of braft's states; any other is an error, or no life yet. */
const roles = {
  LEADER: 'leader',
  TRANSFERRING: 'leader',
  CANDIDATE: 'candidate',
  FOLLOWER: 'follower',
};

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    /** The member's own id, as braft prints it. */
    peer: { type: 'string' },
    group: { type: 'string' },
    'braft-cli': { type: 'string', default: 'braft_cli' },
  },
});
const { peer = fail('--peer is missing'), group = fail('--group is missing') } = values;

if (positionals[0] === 'status') console.log(JSON.stringify(viewOf(await readNode())));
else if (positionals[0] === 'transfer') transfer(await readNode());
else fail('the command is "status" or "transfer"');

/** @returns {never} */
function fail(reason) {
  console.error(reason);
  process.exit(1);
}

/** The node's lines, "name: value", of a page on which every node of the group may be. */
async function readNode() {
  const [ip, port] = peer.split(':');
  // Without "console" a browser's page is sent.
  const url = `http://${ip}:${port}/raft_stat/${encodeURIComponent(group)}?console=1`;
  const answer = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) }).catch((error) =>
    fail(`${url}: ${error.cause?.message ?? error.message}`),
  );
  if (!answer.ok) fail(`${url} answers ${answer.status}`);
  const nodes = (await answer.text())
    .split(/^(?=peer_id: )/m)
    .slice(1)
    .map(linesOf);
  return (
    nodes.find((node) => sameId(node.get('peer_id') ?? '', peer)) ??
    fail(`${url} names no node ${peer} of group ${group}`)
  );
}

function linesOf(text) {
  return new Map(
    text
      .split(/\r?\n/)
      .map((line) => /^(\w+): *(.*?) *$/.exec(line))
      .filter((found) => found !== null)
      .map(([, name, value]) => [name, value]),
  );
}

/** ip:port:index; the role behind it, of a witness, is no part of who it is. */
function sameId(one, other) {
  const start = (id) => [...id.split(':'), '0'].slice(0, 3).join(':');
  return start(one) === start(other);
}

function viewOf(node) {
  const state = field(node, 'state');
  const commitIndex = field(node, 'last_committed_index');
  const leader = roles[state] === 'leader' ? field(node, 'peer_id') : (node.get('leader') ?? '');
  const changes = (node.get('changing_conf') ?? 'NO').startsWith('YES');
  return {
    role: roles[state] ?? 'unknown',
    term: field(node, 'term'),
    leader: leader === '' || leader.startsWith('0.0.0.0:0') ? null : leader,
    commitIndex,
    appliedIndex: field(node, 'known_applied_index'),
    lastIndex: /^\(index=(\d+),/.exec(field(node, 'last_log_id'))?.[1],
    // braft has no learners; a witness votes.
    members: peersOf(node).map((raftId) => ({ raftId, voter: true })),
    // A joint configuration is not over while there are old peers.
    changePending:
      changes || node.has('old_peers') || BigInt(field(node, 'conf_index')) > BigInt(commitIndex),
  };
}

function field(node, name) {
  return node.get(name) ?? fail(`the page of ${peer} has no line "${name}"`);
}

function peersOf(node) {
  return field(node, 'peers')
    .split(' ')
    .filter((id) => id !== '');
}

/** braft_cli asks every peer who leads, then tells the leader. */
function transfer(node) {
  const to = process.env.QUORUMSHIFT_TO ?? fail('QUORUMSHIFT_TO is not set');
  const conf = peersOf(node).join(',');
  const flags = { group, peer: to, conf, timeout_ms: timeoutMs, max_retry: 0 };
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  const { status, error } = spawnSync(values['braft-cli'], ['transfer_leader', ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status !== 0) fail(`braft_cli transfer_leader failed: ${error?.message ?? status}`);
}
