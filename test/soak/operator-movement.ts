/** Moved by operators, whose commands are killed. */
import { join } from 'node:path';

import { seededRandom } from '../../storage/testing/seeded-random.ts';
import { LiveReplica } from './live-replica.ts';
import type { Movement, MovementOptions } from './movement.ts';
import { CommandingOperator } from './replica-operator.ts';

export function moveByOperators(options: MovementOptions): Movement {
  const { cluster, nodes, quiet, seed, log } = options;
  const moved = nodes.map((name, i) => {
    const directory = cluster.directory(name);
    const socket = join(directory, 'host-admin.sock');
    const operator = new CommandingOperator({ replica: `kv/${name}`, socket });
    const replica = new LiveReplica({
      name,
      operator,
      directory,
      // They begin with local, rocksdb and sqlite.
      firstFamily: i,
      random: seededRandom(seed + i),
      cutOver: (cutover) => quiet.watch(cutover),
      log,
    });
    return { name, operator, replica };
  });
  return {
    replicas: moved.map(({ replica }) => replica),
    victims: moved.map(({ name, operator }) => ({
      kind: 'command',
      name: `${name} command`,
      kill: () => operator.kill(),
    })),
    close: async () => {},
  };
}
