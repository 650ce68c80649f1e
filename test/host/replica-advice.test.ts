import { describe, expect, test } from 'vitest';

import { fail } from '../../core/errors.ts';
import { adviceFor } from '../../host/replica-advice.ts';
import { firstRecord } from '../../storage/binding/first-record.ts';
import type { BindingRecord, InstanceRef } from '../../schemas/binding-record.ts';

const ref = (log: string, meta = log): InstanceRef => ({
  uris: { log, meta, snapshot: log },
  parkedTag: null,
});
const primary = ref('local:///data/a/log', 'local:///data/a/raft_meta');
const second = ref('rocksdb:///data/b');

function recordWith(parts: Partial<BindingRecord>): BindingRecord {
  return {
    ...firstRecord({ cluster: 'kv', member: 'n1' }, primary.uris),
    revision: 7,
    generation: 5,
    ...parts,
  };
}

const dual = { ref: second, stage: 'dual', wasPrimary: false, window: null } as const;
const promote = 'quorumshift replica promote kv/n1 --reason "…"';
const drop = 'quorumshift replica drop kv/n1';
const kept = { ref: second, next: 'keep', tag: 'g4', why: 'it failed' } as const;

describe('what may be done about a replica', () => {
  test.each<[string, Partial<BindingRecord>, boolean, readonly string[]]>([
    ['no mirror', {}, false, ['quorumshift replica mirror kv/n1 <uri>']],
    [
      'an interrupted copy: it goes on, or is given up',
      { mirror: { ...dual, stage: 'bootstrapping' } },
      false,
      ['quorumshift replica mirror kv/n1 rocksdb:///data/b', drop],
    ],
    ['dual, no proof', { mirror: dual }, false, ['quorumshift replica prove kv/n1', drop]],
    ['dual, proven', { mirror: dual }, true, ['quorumshift replica cutover kv/n1', drop]],
    [
      'cut over: to the end, or back',
      { mirror: { ...dual, wasPrimary: true } },
      false,
      ['quorumshift replica finalize kv/n1', 'quorumshift replica prove kv/n1'],
    ],
    [
      'a mirror that was left: deleted, then anew',
      { former: { ...kept, wasPrimary: false } },
      false,
      [drop, 'quorumshift replica mirror kv/n1 <uri>'],
    ],
    [
      'being put away after finalize: asked again',
      { former: { ...kept, next: 'retire', wasPrimary: true } },
      false,
      ['quorumshift replica finalize kv/n1'],
    ],
  ])('%s', (_, parts, holdsProof, next) => {
    const record = recordWith(parts);
    const advice = adviceFor({ name: 'kv/n1', record, refusal: null, holdsProof });
    expect([advice.next, advice.alarms]).toEqual([next, []]);
    expect(advice.situation).not.toBe('');
  });

  test('the rollback target is lost: alarmed beside what may be done', () => {
    const former = { ...kept, wasPrimary: true, alarm: 'rollback target lost' } as const;
    const { alarms } = adviceFor({
      name: 'kv/n1',
      record: recordWith({ former }),
      refusal: null,
      holdsProof: false,
    });
    expect(alarms).toEqual(['rollback target lost: rocksdb:///data/b: it failed']);
  });

  const missing = (instance: string) =>
    fail('instance.missing', { instance, actual: 'no such directory' });
  const differ = fail('pair.diverged', {
    primary: primary.uris.log,
    mirror: second.uris.log,
    actual: 'they differ',
  });
  const locked = fail('instance.locked', {
    action: 'open',
    instance: primary.uris.log,
    holder: 'another host',
  });
  const damaged = fail('data.corrupt', {
    file: '/data/a/raft_meta/raft_meta',
    offset: 0,
    reason: 'damaged',
  });
  test.each<[string, Error, Partial<BindingRecord>, readonly string[]]>([
    ['the primary is gone', missing(primary.uris.log), { mirror: dual }, [promote]],
    ['the primary is damaged', damaged, { mirror: dual }, [promote]],
    ['the mirror is', missing(second.uris.log), { mirror: dual }, [`${promote} --side primary`]],
    [
      'both differ: compared first',
      differ,
      { mirror: dual },
      [
        'quorumshift verify local:///data/a rocksdb:///data/b',
        promote,
        `${promote} --side primary`,
      ],
    ],
    ['somebody else holds it: waiting is all', locked, { mirror: dual }, []],
    ['the mirror is not current', missing(primary.uris.log), {}, []],
    [
      'the mirror was being made',
      missing(primary.uris.log),
      { mirror: { ...dual, stage: 'bootstrapping' } },
      [],
    ],
  ])(
    'refused, %s: nothing is offered but what is safe [DUAL-5] [CUT-5]',
    (_, refusal, parts, next) => {
      const record = recordWith(parts);
      const advice = adviceFor({ name: 'kv/n1', record, refusal, holdsProof: false });
      expect(advice.next).toEqual(next);
      expect(advice.situation).toContain('It is not served');
    },
  );
});
