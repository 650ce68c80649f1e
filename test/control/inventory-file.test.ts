import { describe, expect, test } from 'vitest';

import {
  checkInventory,
  checkPolicy,
  parseInventory,
  parsePolicy,
} from '../../control/inventory-file.ts';
import { clusterRollouts, parseLabels, selectClusters } from '../../control/rollout-input.ts';
import { families } from './open-store.ts';

const good = `version: 1
machines:
  m1: { agentId: 0190b1f0-0000-4000-8000-000000000001 }
  m2: {}
clusters:
  zeta:
    labels: { env: prod, tier: "1" }
    members:
      n2: { host: m2, source: "local:///data/zeta", raftId: "10.0.0.2:7000:0" }
      n1: { host: m1, source: "local:///data/zeta", process: kv }
  "10":
    labels: { env: test }
    members:
      n1: { host: m1, source: { log: "local:///w/log", meta: "local:///w/meta", snapshot: "" } }
`;

function problems(text: string): string[] {
  const checked = checkInventory(families, text);
  if (checked.ok) throw new Error('it is taken');
  return checked.problems.map(
    ({ line, column, path, message }) => `${line}:${column} ${path.join('.')}: ${message}`,
  );
}

describe('an inventory file', () => {
  test('is filled in, in the order of the file, short URIs expanded', () => {
    const { clusters } = parseInventory(families, good, 'i.yaml');
    expect(clusters.map(({ cluster }) => cluster)).toEqual(['zeta', '10']);
    expect(clusters[0]?.members).toEqual([
      {
        member: 'n2',
        host: 'm2',
        agentId: null,
        raftId: '10.0.0.2:7000:0',
        source: families.expand('local:///data/zeta'),
        process: null,
      },
      {
        member: 'n1',
        host: 'm1',
        agentId: '0190b1f0-0000-4000-8000-000000000001',
        raftId: 'n1',
        source: families.expand('local:///data/zeta'),
        process: 'kv',
      },
    ]);
  });

  test('JSON is taken too', () => {
    const text = JSON.stringify({
      version: 1,
      clusters: { kv: { members: { n1: { host: 'm1', source: 'local:///d' } } } },
    });
    expect(parseInventory(families, text, 'i.json').clusters).toHaveLength(1);
  });

  test.each([
    [
      'a key twice',
      good.replace(
        'n1: { host: m1, source: "local:///data/z',
        'n2: { host: m1, source: "local:///data/z',
      ),
      /^10:7 .*unique/,
    ],
    [
      'an unknown key',
      good.replace('process: kv', 'proces: kv'),
      /^10:53 clusters\.zeta\.members\.n1\.proces: "proces" is no known key$/,
    ],
    [
      'a name that is none',
      good.replace('zeta:', '"ze ta":'),
      /^6:3 clusters\.ze ta: must be 1 to 64 letters/,
    ],
    [
      'a host that is not listed',
      good.replace('host: m2', 'host: m3'),
      /^9:13 clusters\.zeta\.members\.n2\.host: "m3" is none of the machines/,
    ],
    [
      'an unknown scheme',
      good.replace('"local:///data/zeta", raftId', '"lokal:///data/zeta", raftId'),
      /^9:23 .*no family has the scheme "lokal"/,
    ],
    [
      'a raftId twice',
      good.replace('"10.0.0.2:7000:0"', 'n1'),
      /^10:7 .*"n2" has the raftId "n1" too/,
    ],
    [
      'one place twice',
      good.replace('host: m2', 'host: m1'),
      /^10:23 .*machine "m1" has zeta\/n2 at/,
    ],
    [
      'one place inside another',
      good.replaceAll('local:///w/', 'local:///data/zeta/log/x/'),
      /^14:23 .*machine "m1" has zeta\/n1/,
    ],
    [
      'no member',
      good.replace(/n1: \{ host: m1, source: \{.*/, '{}'),
      /^13:5 clusters\.10\.members: a cluster has at least one member/,
    ],
    [
      'one URI of three missing',
      good.replace(', snapshot: ""', ''),
      /^14:23 clusters\.10\.members\.n1\.source\.snapshot: /,
    ],
    [
      'a name that no object can hold',
      good.replace('zeta:', '__proto__:'),
      /^6:3 clusters\.__proto__: this name cannot be used/,
    ],
    ['another version', good.replace('version: 1', 'version: 2'), /^1:1 version: /],
    ['no YAML', 'version: [1', /^1:12 /],
    ['nothing', '', /^1:1 : /],
    [
      'a tag that means nothing',
      good.replace('version: 1', 'version: !!js/function "x"'),
      /^1:10 .*tag/i,
    ],
  ])('%s is refused with its place', (_what, text, says) => {
    expect(text).not.toBe(good);
    expect(problems(text)[0]).toMatch(says);
  });

  test('all problems are told at once, and the error names the file', () => {
    const text = good
      .replace('host: m2', 'host: m8')
      .replace('process: kv', 'raftId: "10.0.0.2:7000:0"');
    expect(problems(text)).toHaveLength(2);
    expect(() => parseInventory(families, text, 'fleet.yaml')).toThrow(
      /Cannot use inventory fleet\.yaml: line 9, column 13: clusters\.zeta/,
    );
  });

  test('aliases may be used, thousands of times', () => {
    const members = Array.from(
      { length: 3000 },
      (_, i) =>
        `  c${i}: { labels: *prod, members: { n1: { host: m1, source: "local:///d/${i}" } } }`,
    );
    const first =
      '  first: { labels: &prod { env: prod }, members: { n: { host: m, source: "local:///x" } } }';
    const text = `version: 1\nclusters:\n${first}\n${members.join('\n')}\n`;
    const { clusters } = parseInventory(families, text, 'i.yaml');
    expect(clusters.every(({ labels }) => labels['env'] === 'prod')).toBe(true);
  });

  test.each([
    [
      'aliases of aliases that stand for more than any memory holds',
      `a: &a [${'x,'.repeat(50)}]\n${Array.from({ length: 12 }, (_, i) => `b${i}: &b${i} [${`*${i === 0 ? 'a' : `b${i - 1}`},`.repeat(20)}]`).join('\n')}`,
      /stand for too much/,
    ],
    [
      'one long text, named a hundred thousand times',
      `a: &a ${'x'.repeat(100_000)}\nb: [${'*a,'.repeat(100_000)}]`,
      /stand for too much/,
    ],
    ['an alias of what holds it', 'a: &a { b: *a }', /^1:12 : the alias "\*a" names nothing/],
    ['lists in lists', `${'['.repeat(300)}1${']'.repeat(300)}`, /more than 100 deep/],
    ['lists in lists without an end', '['.repeat(200_000), /./],
  ])('%s: refused at once', (_what, text, says) => {
    const began = performance.now();
    expect(problems(text)[0]).toMatch(says);
    expect(performance.now() - began).toBeLessThan(20_000);
  });
});

describe('a policy file', () => {
  test.each([
    ['no target', 'soakSeconds: 5', /1:1 target: is missing/],
    [
      'an unknown placeholder',
      'target: "sqlite:///d/{name}"',
      /1:1 target: .*"\{name\}".*\{cluster\}/,
    ],
    ['an unknown scheme', 'target: "sqlit:///d"', /no family has the scheme "sqlit"/],
    [
      'a target that has no meaning',
      'shape: binary\ntarget: "sqlite:///d"',
      /2:1 target: has no meaning/,
    ],
    [
      'a share that is none',
      'target: "sqlite:///d"\nwaves: [{ clusters: 1 }, { clusters: "110%" }]',
      /2:28 waves\.1\.clusters: .*percentage/,
    ],
    [
      'a zone that is none',
      'target: "sqlite:///d"\nwindows: [{ from: "22:00", to: "04:00", timeZone: Europe/Berlni }]',
      /2:41 windows\.0\.timeZone: must be a time zone/,
    ],
  ])('%s is refused with its place', (_what, text, says) => {
    const checked = checkPolicy(families, text);
    if (checked.ok) throw new Error('it is taken');
    const [{ line, column, path, message }] = checked.problems as [(typeof checked.problems)[0]];
    expect(`${line}:${column} ${path.join('.')}: ${message}`).toMatch(says);
  });
});

describe('the rollouts of an inventory', () => {
  const inventory = parseInventory(families, good, 'i.yaml');
  const name = { rolloutId: 'r1', requestedBy: 'alice' };
  const policyOf = (text: string) => parsePolicy(families, text, 'p.yaml');
  const toSqlite = policyOf('target: "sqlite:///new/{cluster}-{member}-{host}"');

  test('targets are filled in for each member', () => {
    const rollouts = clusterRollouts(families, { inventory, policy: toSqlite, name });
    expect(rollouts.map(({ cluster }) => cluster)).toEqual(['zeta', '10']);
    expect(rollouts[0]?.members[0]).toMatchObject({
      member: 'n2',
      target: families.expand('sqlite:///new/zeta-n2-m2'),
    });
    const selection = { clusters: ['10'] };
    const one = clusterRollouts(families, { inventory, policy: toSqlite, selection, name });
    expect(one).toEqual(rollouts.slice(1));
  });

  test('shape binary has no targets', () => {
    const rollouts = clusterRollouts(families, {
      inventory,
      policy: policyOf('shape: binary'),
      name,
    });
    expect(rollouts[0]?.members.map(({ target }) => target)).toEqual([null, null]);
  });

  test.each([
    [
      'a target equal to its source',
      'local:///data/{cluster}',
      /target of zeta\/n2 is the source of zeta\/n2/,
    ],
    [
      'one target for two members of a machine',
      'sqlite:///new/{member}',
      /on machine "m1", the target of 10\/n1 is the target of zeta\/n1/,
    ],
    ['a target inside a source', 'sqlite:///data/zeta/log/{cluster}', /is the source of zeta\/n2/],
  ])('%s is refused', (_what, target, says) => {
    const policy = policyOf(`target: "${target}"`);
    expect(() => clusterRollouts(families, { inventory, policy, name })).toThrow(says);
  });

  test('a source of a cluster that was not selected is in the way too', () => {
    const policy = policyOf('target: "local:///w"');
    const selection = { clusters: ['zeta'] };
    expect(() => clusterRollouts(families, { inventory, policy, selection, name })).toThrow(
      /on machine "m1", the target of zeta\/n1 is the source of 10\/n1/,
    );
  });

  test('an order that names nobody is refused', () => {
    const policy = policyOf('target: "sqlite:///new/{cluster}-{member}"\norder: [n9]');
    expect(() => clusterRollouts(families, { inventory, policy, name })).toThrow(/"n9"/);
  });

  test('clusters are selected by label and by name, in the order of the names', () => {
    const names = (selection: Parameters<typeof selectClusters>[1]) =>
      selectClusters(inventory, selection).clusters.map(({ cluster }) => cluster);
    expect(names({ labels: parseLabels(['env=prod,tier=1']) })).toEqual(['zeta']);
    expect(names({ clusters: ['10', 'zeta'] })).toEqual(['10', 'zeta']);
    expect(() => names({ labels: { env: 'none' } })).toThrow(/nothing of its 2 clusters/);
    expect(() => names({ clusters: ['kv'] })).toThrow(/"kv": the inventory has no cluster/);
    expect(() => parseLabels(['env'])).toThrow(/"env" selects no label/);
  });
});
