import { describe, expect, test } from 'vitest';

import { hasCode } from '../../core/errors.ts';
import { localFamily } from '../../storage/families/local/family.ts';

const move = (path: string) => `/parked${path}`;

describe('URIs of local instances [FAM-9]', () => {
  test('the short form names the three directories of the examples of braft', () => {
    expect(localFamily.expand('local:///data/a/')).toEqual({
      log: 'local:///data/a/log',
      meta: 'local:///data/a/raft_meta',
      snapshot: 'local:///data/a/snapshot',
    });
    expect(localFamily.expand('local://./a').log).toBe('local://./a/log');
  });

  test('places and their move; a LevelDB is shared and stays [CUT-7]', () => {
    const uris = {
      log: 'local:///l',
      meta: 'local-mixed://merged_path=/shared&&single_path=/m',
      snapshot: '',
      groupId: 'g_0',
    };
    expect(localFamily.places(uris)).toEqual([
      { role: 'log', path: '/l', shared: false },
      { role: 'meta', path: '/m', shared: false },
      { role: 'meta', path: '/shared', shared: true },
    ]);
    expect(localFamily.relocate(uris, move)).toEqual({
      log: 'local:///parked/l',
      meta: 'local-mixed://merged_path=/shared&&single_path=/parked/m',
      snapshot: '',
      groupId: 'g_0',
    });
    const merged = { ...uris, meta: 'local-merged:///shared', snapshot: 'local:///s' };
    expect(localFamily.relocate(merged, move)).toMatchObject({
      meta: 'local-merged:///shared',
      snapshot: 'local:///parked/s',
    });
  });

  test('both paths of local-mixed are found where braft finds them', () => {
    const meta = 'local-mixed://x?merged_path=/a&&single_path=/b&&single_path=/c';
    const places = localFamily.places({ log: 'local:///l', meta, snapshot: '', groupId: 'g_0' });
    expect(places.map((place) => place.path)).toEqual(['/l', '/b&&single_path=/c', '/a']);
  });

  test.each([
    { log: 'local-merged:///l', meta: 'local:///m', snapshot: '' },
    { log: 'local:///l', meta: 'local-merged:///m', snapshot: '' },
    { log: 'local:///l', meta: 'local-mixed:///m', snapshot: '', groupId: 'g_0' },
    { log: 'local:///l', meta: 'rocksdb:///m', snapshot: '' },
  ])('refused: $log $meta', (uris) => {
    const places = () => localFamily.places(uris);
    const error = (() => {
      try {
        return places();
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(hasCode(error, 'uri.invalid')).toBe(true);
  });
});
