/**
 * A Temporal server, one control worker and several machines, each a process of its own that can be
 * killed and started again.
 */
import { MigrationEnvironment, type MachineAt } from '../e2e/migration-environment.ts';
import { KillableServer } from './killable-server.ts';

/** Who is killed: the server, the control worker, or the agent of a machine. */
export type Victim = 'server' | 'control' | MigrationEnvironment;

export class KillableFleet {
  readonly machines: readonly MigrationEnvironment[];
  readonly #server: KillableServer;
  /** Its control worker serves all machines. */
  readonly #first: MigrationEnvironment;

  /** @param options.machines how many of their own, or those that are there */
  static async start(options: {
    bin: string;
    machines: number | readonly MachineAt[];
  }): Promise<KillableFleet> {
    const server = await KillableServer.start(options.bin);
    const { machines: wanted } = options;
    const places = typeof wanted === 'number' ? Array.from<undefined>({ length: wanted }) : wanted;
    const { address, namespace } = server;
    const machines = await Promise.all(
      places.map((at) => MigrationEnvironment.create({ address, namespace, ...(at && { at }) })),
    );
    const [first] = machines;
    if (first === undefined) throw new Error('a fleet has a machine');
    const fleet = new KillableFleet({ server, first, machines });
    await Promise.all([first.start('control'), ...machines.map((one) => one.start('agent'))]);
    return fleet;
  }

  private constructor(given: {
    server: KillableServer;
    first: MigrationEnvironment;
    machines: readonly MigrationEnvironment[];
  }) {
    this.#server = given.server;
    this.#first = given.first;
    this.machines = given.machines;
  }

  machine(index: number): MigrationEnvironment {
    const machine = this.machines[index];
    if (machine === undefined) throw new RangeError(`there is no machine ${index}`);
    return machine;
  }

  nameOf(victim: Victim): string {
    return typeof victim === 'string' ? victim : `agent of ${victim.host}`;
  }

  /** kill -9, then waits for the end. */
  async kill(victim: Victim): Promise<void> {
    if (victim === 'server') await this.#server.kill();
    else if (victim === 'control') await this.#first.kill('control');
    else await victim.kill('agent');
  }

  /** A server with an emptied database knows nothing of what was. */
  async restart(victim: Victim, options = { emptied: false }): Promise<void> {
    if (victim === 'server') await this.#server.restart(options);
    else if (victim === 'control') await this.#first.start('control');
    else await victim.start('agent');
  }

  log(): string {
    return this.machines.map((machine) => machine.log).join('\n');
  }

  async close(): Promise<void> {
    await Promise.all(this.machines.map((machine) => machine.close()));
    await this.#server.close();
  }
}
