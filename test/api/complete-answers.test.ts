import { describe, expectTypeOf, test } from 'vitest';
import type { z } from 'zod';

import type { ClusterReportSeen } from '../../client/cluster-client.ts';
import type { FleetReport } from '../../client/fleet-client.ts';
import type { MigrationReport } from '../../client/migrations.ts';
import type { ScheduleReport } from '../../client/schedule-client.ts';
import type { migrationSchema, planSchema } from '../../schemas/http/migration.ts';
import type { clusterSchema, fleetSchema } from '../../schemas/http/rollout.ts';
import type { scheduleSchema } from '../../schemas/http/schedule.ts';
import type { PlanAnswer } from '../../workflows/plan-replica.ts';

/** `/status/view/proof`, … of every field, through arrays. */
type Paths<Value, Above extends string = ''> = Value extends readonly (infer Item)[]
  ? Paths<Item, Above>
  : Value extends object
    ? string extends keyof Value
      ? Above
      : {
          [Key in keyof Value & string]:
            | `${Above}/${Key}`
            | Paths<NonNullable<Value[Key]>, `${Above}/${Key}`>;
        }[keyof Value & string]
    : never;

/** What is known, and left out of the answer. */
type LeftOut<Known, Schema extends z.ZodType> = Exclude<Paths<Known>, Paths<z.output<Schema>>>;

// The compiler proves these: an answer's schema drops in silence what it does not name.
describe('an answer of the API has every field', () => {
  test('of migrations and plans', () => {
    expectTypeOf<LeftOut<MigrationReport, typeof migrationSchema>>().toBeNever();
    expectTypeOf<LeftOut<PlanAnswer, typeof planSchema>>().toBeNever();
  });

  test('of rollouts and schedules', () => {
    expectTypeOf<LeftOut<ClusterReportSeen, typeof clusterSchema>>().toBeNever();
    expectTypeOf<LeftOut<FleetReport, typeof fleetSchema>>().toBeNever();
    expectTypeOf<LeftOut<ScheduleReport, typeof scheduleSchema>>().toBeNever();
  });
});
