import { expect, test } from '@jest/globals';
import { credentialsOfHeaders, withoutCredentials } from '../../src/core/credentials.ts';

const TOKEN = 'canary-5cfd2a81';

test.each<[string, Record<string, string>, string]>([
  ['the value', { 'x-api-key': TOKEN }, TOKEN],
  ['the value with its scheme', { authorization: `Bearer ${TOKEN}` }, `Bearer ${TOKEN}`],
  ['the part after the scheme', { authorization: `Bearer ${TOKEN}` }, TOKEN],
  ['a quoted part', { authorization: `Token token="${TOKEN}", nonce="x"` }, TOKEN],
  ['the value of a cookie', { cookie: `a=b; session=${TOKEN}` }, TOKEN],
  ['a Basic pair', { authorization: `Basic ${btoa(`me:${TOKEN}`)}` }, `me:${TOKEN}`],
  ['a Basic password', { authorization: `basic ${btoa(`me:${TOKEN}`)}` }, TOKEN],
  ['a long value of any name', { 'x-own': `${TOKEN}-long` }, `${TOKEN}-long`],
])('of headers, %s is a credential', (_, headers, credential) => {
  const text = withoutCredentials(`it said ${credential}!`, credentialsOfHeaders(headers));
  expect(text).toBe('it said [redacted]!');
});

test.each<[string, Record<string, string>, string]>([
  ['a version', { 'anthropic-version': '2023-06-01' }, 'release 2023-06-01'],
  ['a short word', { 'x-tenant': 'production' }, 'production'],
  ['a scheme', { authorization: `Bearer ${TOKEN}` }, 'Bearer of news'],
  ['a short part', { authorization: 'Token a=b' }, 'a b'],
])('%s in a header hides no text', (_, headers, text) => {
  expect(withoutCredentials(text, credentialsOfHeaders(headers))).toBe(text);
});
