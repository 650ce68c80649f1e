/** The API's own metrics, in Prometheus' text format. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

const msPerSecond = 1000;
/** Seconds: from a read of memory to a wish that no control worker takes. */
const requestBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15];

export class ApiMetrics {
  readonly #registry = new Registry();
  readonly #requests: Histogram<'method' | 'route' | 'status'>;

  constructor(measured: { streams(): number; requests(): number; operations(): number }) {
    const registers = [this.#registry];
    collectDefaultMetrics({ register: this.#registry });
    this.#requests = new Histogram({
      name: 'quorumshift_api_request_seconds',
      help: 'From a request to its answer, by route',
      labelNames: ['method', 'route', 'status'],
      buckets: requestBuckets,
      registers,
    });
    const gauge = (name: string, help: string, value: () => number) =>
      new Gauge({
        name: `quorumshift_api_${name}`,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    gauge('streams', 'Streams of events that are open', () => measured.streams());
    gauge('requests_under_way', 'Requests being answered', () => measured.requests());
    gauge('operations_under_way', 'Changes that have not ended', () => measured.operations());
  }

  readonly observe = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const route = request.routeOptions.url ?? 'none';
    const status = String(reply.statusCode);
    const seconds = reply.elapsedTime / msPerSecond;
    this.#requests.observe({ method: request.method, route, status }, seconds);
  };

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
