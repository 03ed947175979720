import { describe, expect, test } from '@jest/globals';
import { Webhook } from 'standardwebhooks';
import type { Message } from '../../src/deliver/channels/channel.ts';
import { createSigner, deriveSecret, generateSecret } from '../../src/deliver/secrets/sign.ts';

const message: Message = {
  eventId: 'evt_1',
  eventType: 'run.failed',
  body: '{"a":"é 🚀 \\u2028"}',
};

describe('signing', () => {
  test('a signature matches the example of the Standard Webhooks specification', () => {
    const sign = createSigner(['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']);
    const example: Message = {
      eventId: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      eventType: 'run.failed',
      body: '{"test": 2432232314}',
    };
    expect(sign(example, 1_614_265_330_999)).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    });
  });

  test('both secrets verify while one replaces the other, and no third does', () => {
    const [old, next, other] = [generateSecret(), generateSecret(), generateSecret()];
    const headers = createSigner([next, old])(message, Date.now());
    expect(headers['webhook-signature']?.split(' ')).toHaveLength(2);
    expect(new Webhook(old).verify(message.body, headers)).toEqual(JSON.parse(message.body));
    expect(new Webhook(next).verify(message.body, headers)).toEqual(JSON.parse(message.body));
    expect(() => new Webhook(other).verify(message.body, headers)).toThrow('No matching signature');
  });

  test('a webhook without a secret has an id and a time, and no signature', () => {
    expect(createSigner([])(message, 1_000)).toEqual({
      'webhook-id': 'evt_1',
      'webhook-timestamp': '1',
    });
  });

  test('a generated secret holds 32 bytes and is new each time', () => {
    const secret = generateSecret();
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(generateSecret()).not.toBe(secret);
  });

  test.each(['hunter2', 'whsec_', 'whsec_%%%%'])(
    'the secret %s is refused without being repeated',
    (secret) => {
      const create = () => createSigner([secret]);
      expect(create).toThrow(expect.objectContaining({ code: 'invalid_webhook_secret' }));
      expect(create).toThrow(expect.not.objectContaining({ cause: expect.anything() }));
    },
  );
});

test('a derived secret belongs to scheme, host, port and path of a URL, and to the instance', () => {
  const [one, other] = [generateSecret(), generateSecret()];
  const derive = (url: string) => deriveSecret(one, url);
  expect(derive('https://a.example/x?token=1')).toBe(derive('https://a.example:443/x'));
  const all = ['https://a.example/x', 'https://a.example/y', 'https://b.example/x'].map(derive);
  const others = [
    derive('http://a.example/x'),
    derive('https://a.example:8443/x'),
    deriveSecret(other, 'https://a.example/x'),
  ];
  expect(new Set([...all, ...others]).size).toBe(6);
  for (const secret of all) expect(Buffer.from(secret.slice(6), 'base64')).toHaveLength(32);
});
