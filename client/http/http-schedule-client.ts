/** Shows and steers schedules through the HTTP API. */
import type { Schedules } from '../control-plane.ts';
import type { ScheduleReport } from '../schedule-client.ts';
import { ApiConnection, keyHeader, type ApiPlace } from './api-connection.ts';

/** Most that one answer has. */
const mostSchedules = 1000;

export class HttpScheduleClient implements Schedules {
  readonly #api: ApiConnection;

  constructor(place: ApiPlace) {
    this.#api = new ApiConnection(place);
  }

  async describe(schedule: string): Promise<ScheduleReport> {
    const params = { path: { schedule } };
    return this.#api.answered(this.#api.calls.GET('/v1/schedules/{schedule}', { params }));
  }

  async list({ limit }: { readonly limit: number }): Promise<ScheduleReport[]> {
    const params = { query: { limit: Math.min(limit, mostSchedules) } };
    const asked = this.#api.calls.GET('/v1/schedules', { params });
    return (await this.#api.answered(asked)).items;
  }

  async pause(schedule: string, note: string): Promise<void> {
    const given = { params: paramsOf(schedule), body: noteOf(note) };
    await this.#api.done(this.#api.calls.POST('/v1/schedules/{schedule}/pause', given));
  }

  async resume(schedule: string, note: string): Promise<void> {
    const given = { params: paramsOf(schedule), body: noteOf(note) };
    await this.#api.done(this.#api.calls.POST('/v1/schedules/{schedule}/resume', given));
  }

  async trigger(schedule: string): Promise<void> {
    const given = { params: paramsOf(schedule), body: {} };
    await this.#api.done(this.#api.calls.POST('/v1/schedules/{schedule}/trigger', given));
  }

  async delete(schedule: string): Promise<void> {
    const given = { params: paramsOf(schedule) };
    await this.#api.done(this.#api.calls.DELETE('/v1/schedules/{schedule}', given));
  }
}

function paramsOf(schedule: string) {
  return { path: { schedule }, header: keyHeader() };
}

/** Without one the server notes who asked. */
function noteOf(note: string): { reason?: string } {
  return note === '' ? {} : { reason: note };
}
