import { expect, test } from '@jest/globals';
import { waitFor } from '../support/wait-for.ts';

test("waitFor returns the condition's value as soon as there is one", async () => {
  let looks = 0;
  await expect(waitFor(() => (looks += 1) === 3 && 'there')).resolves.toBe('there');
  expect(looks).toBe(3);
});

test('waitFor takes an error for not yet', async () => {
  let looks = 0;
  const value = await waitFor(async () => {
    looks += 1;
    if (looks < 3) throw new Error('not yet');
    return looks;
  });
  expect(value).toBe(3);
});

test('waitFor gives up with a message that names the condition and the last error', async () => {
  const never = waitFor(
    () => {
      throw new Error('still 2');
    },
    { timeoutMs: 20, describe: () => 'three of them' },
  );
  await expect(never).rejects.toThrow('waited 20 ms in vain for three of them: still 2');
});
