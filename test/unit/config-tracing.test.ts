import { expect, test } from '@jest/globals';
import { openEnvironment } from '../../src/config/environment.ts';
import { readTracing } from '../../src/config/tracing.ts';

const read = (env: Record<string, string>) => readTracing(openEnvironment(env, '/'));

const ON = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };

test.each<[Record<string, string>, number | null]>([
  [{}, null],
  [ON, 1],
  [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://collector/v1/traces' }, 1],
  [{ OTEL_SERVICE_NAME: 'runwatch', OTEL_TRACES_EXPORTER: 'otlp' }, null],
  [{ ...ON, OTEL_SDK_DISABLED: 'true' }, null],
  [{ ...ON, OTEL_TRACES_EXPORTER: 'none' }, null],
  [{ ...ON, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' }, 1],
  [{ ...ON, OTEL_TRACES_SAMPLER: 'always_on' }, 1],
  [{ ...ON, OTEL_TRACES_SAMPLER: 'parentbased_always_off' }, null],
  [{ ...ON, OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.1' }, 0.1],
  [{ ...ON, OTEL_TRACES_SAMPLER: 'traceidratio' }, 1],
])('by the variables %j the share of traced runs is %p', (env, ratio) => {
  expect(read(env)).toEqual({ tracing: ratio === null ? null : { ratio }, warnings: [] });
});

test.each<[Record<string, string>, string, RegExp, number | null]>([
  [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector' }, 'OTEL_EXPORTER_OTLP_ENDPOINT', /URL/, null],
  [{ ...ON, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, 'OTEL_EXPORTER_OTLP_PROTOCOL', /4318/, null],
  [{ ...ON, OTEL_TRACES_SAMPLER: 'jaeger_remote' }, 'OTEL_TRACES_SAMPLER', /not known/, 1],
  [
    { ...ON, OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '20%' },
    'OTEL_TRACES_SAMPLER_ARG',
    /0 to 1/,
    1,
  ],
])('the variables %j are a warning about %s', (env, variable, message, ratio) => {
  expect(read(env)).toEqual({
    tracing: ratio === null ? null : { ratio },
    warnings: [
      expect.objectContaining({ path: [variable], message: expect.stringMatching(message) }),
    ],
  });
});
