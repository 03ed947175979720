import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { OpenaiResponses } from '../support/apis/openai-responses.ts';
import { NOON } from '../support/builders.ts';

const TEN_MINUTES = 600_000;

let clock: number;
let openai: OpenaiResponses;
let id: string;

beforeEach(async () => {
  clock = NOON;
  openai = await new OpenaiResponses({ now: () => clock }).listen();
  id = openai.add();
});

afterEach(() => openai.close());

async function get(path: string, key = openai.key) {
  const headers = { authorization: `Bearer ${key}` };
  const response = await fetch(`${openai.url}${path}`, { headers });
  const header = (name: string) => response.headers.get(name);
  return { status: response.status, header, body: JSON.parse(await response.text()) };
}

const read = (response = id) => get(`/v1/responses/${response}`);

describe('fake OpenAI: responses', () => {
  test('a background response of the fake OpenAI has the documented fields, with times in seconds', async () => {
    expect((await read()).body).toMatchObject({
      id: expect.stringMatching(/^resp_[\da-f]+$/),
      object: 'response',
      status: 'queued',
      background: true,
      created_at: NOON / 1_000,
      completed_at: null,
      error: null,
      incomplete_details: null,
      model: expect.any(String),
      output: [],
    });
  });

  test('a completed response of the fake OpenAI has its output and the time of its end', async () => {
    openai.setStatus(id, 'in_progress');
    expect((await read()).body).toMatchObject({ status: 'in_progress', completed_at: null });
    clock += 90_000;
    openai.setStatus(id, 'completed');
    expect((await read()).body).toMatchObject({
      status: 'completed',
      completed_at: NOON / 1_000 + 90,
      output: [{ type: 'message', content: [{ type: 'output_text' }] }],
    });
  });

  test.each([
    ['failed', { error: { code: 'server_error' }, incomplete_details: null }],
    ['incomplete', { error: null, incomplete_details: { reason: 'max_output_tokens' } }],
    ['cancelled', { error: null, incomplete_details: null }],
  ] as const)('a response of the fake OpenAI ends as %s', async (status, reason) => {
    openai.setStatus(id, status);
    expect((await read()).body).toMatchObject({ status, completed_at: null, ...reason });
  });

  test('the fake OpenAI forgets a response ten minutes after its end unless it is stored', async () => {
    const stored = openai.add({ isStored: true });
    for (const one of [id, stored]) openai.setStatus(one, 'completed');
    clock += TEN_MINUTES - 1;
    expect((await read()).status).toBe(200);
    clock += 1;
    const { status, body } = await read();
    expect(status).toBe(404);
    expect(body).toEqual({
      error: {
        message: `Response with id '${id}' not found.`,
        type: 'invalid_request_error',
        param: null,
        code: null,
      },
    });
    expect((await read(stored)).status).toBe(200);
  });

  test('the fake OpenAI keeps a response that goes on for longer than ten minutes', async () => {
    openai.setStatus(id, 'in_progress');
    clock += 2 * TEN_MINUTES;
    expect((await read()).status).toBe(200);
    openai.forget(id);
    expect((await read()).status).toBe(404);
  });
});

describe('fake OpenAI: models and refusals', () => {
  test('the fake OpenAI lists its models', async () => {
    const { status, body } = await get('/v1/models');
    expect(status).toBe(200);
    expect(body).toMatchObject({ object: 'list', data: [{ object: 'model' }] });
  });

  test('the fake OpenAI answers 401 to a wrong key', async () => {
    const { status, body } = await get('/v1/models', 'wrong');
    expect(status).toBe(401);
    expect(body.error).toMatchObject({ code: 'invalid_api_key' });
  });

  test('the fake OpenAI answers 429 with Retry-After while its limit is used up', async () => {
    openai.limit(20);
    const { status, header, body } = await read();
    expect(status).toBe(429);
    expect(header('retry-after')).toBe('20');
    expect(header('x-ratelimit-reset-requests')).toBe('20s');
    expect(body.error).toMatchObject({ code: 'rate_limit_exceeded' });
    clock += 20_000;
    expect((await read()).status).toBe(200);
  });
});
