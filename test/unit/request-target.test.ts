import { expect, test } from '@jest/globals';
import { requestTarget } from '../../src/core/request-target.ts';

test.each([
  ['https://example.com/v1/runs?size=2#top', 'https:', 'example.com', '', '/v1/runs?size=2'],
  ['http://[::1]:8080', 'http:', '::1', '8080', '/'],
])('the request target of %s', (url, protocol, hostname, port, path) => {
  expect(requestTarget(new URL(url))).toEqual({ protocol, hostname, port, path });
});
