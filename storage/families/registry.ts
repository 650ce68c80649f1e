/** The families that ship: the one place that names them all (FAM-6). */
import { FamilyRegistry } from '../family-registry.ts';
import { localFamily } from './local/family.ts';
import { memoryFamily } from './memory/family.ts';
import { rocksdbFamily } from './rocksdb/family.ts';
import { sqliteFamily } from './sqlite/family.ts';

export function defaultFamilies(): FamilyRegistry {
  return new FamilyRegistry([localFamily, rocksdbFamily, sqliteFamily, memoryFamily]);
}
