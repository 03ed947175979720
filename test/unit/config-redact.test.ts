import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { parse } from 'yaml';
import { renderConfig } from '../../src/cli/local/config.ts';
import { maskUrl, redactConfig } from '../../src/config/redact.ts';
import { configSchema, type Config } from '../../src/config/schema.ts';

/** Text that is valid in a URL, a header and a secret, and cannot occur elsewhere by chance. */
const canary = fc.stringMatching(/^canary-[a-zA-Z0-9_.~-]{9,20}$/);

function whsec(text: string): string {
  return `whsec_${Buffer.from(text.padEnd(24, '=')).toString('base64')}`;
}

/** A configuration with the same secret in every place that can hold one. */
function configWith(secret: string): Config {
  return configSchema.parse({
    data_dir: '/var/lib/runwatch',
    redis: { url: `redis://${secret}:${secret}@redis.example:6379/2?password=${secret}#${secret}` },
    sources: { prod: { api_key: secret, base_url: `https://noxus.example/api?key=${secret}` } },
    auth: { tokens: [{ name: 'ops', token: secret }] },
    endpoints: {
      hook: {
        type: 'webhook',
        url: `https://hooks.example/${secret}?q=${secret}#${secret}`,
        secret: whsec(secret),
        headers: { authorization: secret, 'x-api-key': secret },
      },
      bearer: { type: 'webhook', url: 'https://b.example/', auth: { bearer: secret } },
      basic: {
        type: 'webhook',
        url: 'https://c.example/',
        auth: { basic: { username: secret, password: secret } },
        tls: { ca_file: '/etc/ca.pem' },
        when: { source: 'prod', metadata: { team: ['a', 'b'] } },
      },
    },
    delivery: { signing_secret: whsec(secret) },
    encryption: { keys: [Buffer.alloc(32, 7).toString('hex')] },
  });
}

describe('the configuration as it is shown', () => {
  test('no secret survives, in whichever form it is shown', () => {
    fc.assert(
      fc.property(canary, (secret) => {
        const config = configWith(secret);
        const loaded = {
          kind: 'loaded',
          config,
          file: 'f.yaml',
          overrides: ['REDIS_URL'],
          warnings: [],
          tracing: null,
          rereadHeaders: () => null,
        } as const;
        for (const json of [true, false]) {
          const shown = renderConfig(loaded, { json });
          expect(shown).not.toContain('canary');
          expect(shown).not.toContain(Buffer.from('canary').toString('base64'));
          expect(shown).not.toContain('0707');
        }
      }),
    );
  });

  test('the shown configuration has the shape of the file, with durations as text', () => {
    const shown = redactConfig(configWith('canary-0123456789'));
    expect(shown).toMatchObject({
      server: { shutdown_timeout: '20s', port: 8787 },
      polling: { max_interval: '1m', unauthorized_probe: '1m' },
      redis: { url: 'redis://[redacted]@redis.example:6379/2?[redacted]' },
      sources: {
        prod: {
          base_url: 'https://noxus.example/api?[redacted]',
          api_key: '[redacted]',
          rate_limit: { per: '1s' },
        },
      },
      auth: { tokens: [{ name: 'ops', token: '[redacted]', scopes: ['read', 'write', 'admin'] }] },
      endpoints: {
        hook: {
          url: 'https://hooks.example/[redacted]?[redacted]',
          secret: '[redacted]',
          headers: { authorization: '[redacted]', 'x-api-key': '[redacted]' },
          timeout: '15s',
          retry: ['5s', '1m', '5m', '30m', '2h', '5h', '10h', '14h', '20h', '1d'],
          body: 'standard',
        },
        bearer: { auth: { bearer: '[redacted]' } },
        basic: {
          auth: { basic: { username: '[redacted]', password: '[redacted]' } },
          tls: { ca_file: '/etc/ca.pem' },
          when: { source: ['prod'], metadata: { team: ['a', 'b'] } },
        },
      },
      delivery: { signing_secret: '[redacted]', keep: 1_000_000 },
      encryption: { keys: ['[redacted]'] },
    });
  });

  test('a shown configuration without secrets loads again unchanged', () => {
    const config = configSchema.parse({
      data_dir: '/d',
      endpoints: { audit: { type: 'log', events: ['*'] } },
      watches: { timeout: '90s' },
      egress: { allow: ['10.0.0.0/8'] },
    });
    const loaded = {
      kind: 'loaded',
      config,
      file: null,
      overrides: [],
      warnings: [],
      tracing: null,
      rereadHeaders: () => null,
    } as const;
    const yaml = renderConfig(loaded, { json: false });
    expect(yaml).toMatch(/^# no file, defaults\n/);
    expect(configSchema.parse(parse(yaml))).toEqual(config);
    expect(configSchema.parse(JSON.parse(renderConfig(loaded, { json: true })))).toEqual(config);
  });

  test('a setting that the schema does not know is hidden', () => {
    const config = { ...configSchema.parse({ data_dir: '/d' }), later: 'canary' };
    expect(redactConfig(config)).toMatchObject({ later: '[redacted]' });
  });
});

describe('masking URLs', () => {
  test.each([
    ['https://a.example', 'https://a.example'],
    ['https://a.example/api', 'https://a.example/api'],
    ['https://u:p@a.example:8443/x?k=v', 'https://[redacted]@a.example:8443/x?[redacted]'],
    ['https://a.example/x#k', 'https://a.example/x?[redacted]'],
    ['redis://:pw@localhost:6379/0', 'redis://[redacted]@localhost:6379/0'],
    ['unix:///run/redis.sock', 'unix:///run/redis.sock'],
    ['/run/redis.sock', '/run/redis.sock'],
    ['/run/redis.sock?password=pw', '[redacted]'],
    ['redis://user:pa#ss@host', '[redacted]'],
    ['redis://user:12/34@host', '[redacted]'],
    ['redis://user:12#34@host', '[redacted]'],
    ['no url', '[redacted]'],
  ])('the URL %s is masked as %s', (url, shown) => {
    expect(maskUrl(url, { path: true })).toBe(shown);
  });

  test('a URL path that may be a credential is hidden', () => {
    expect(maskUrl('https://hooks.example/services/T0/B0/x', { path: false })).toBe(
      'https://hooks.example/[redacted]',
    );
    expect(maskUrl('https://hooks.example/', { path: false })).toBe('https://hooks.example/');
  });
});
