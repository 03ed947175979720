import { z } from 'zod';
import { presentations } from './fields.ts';

/** User names and passwords in URLs end up in logs and listings, so there is no place for them. */
function holdsNoUserinfo(text: string): boolean {
  if (!URL.canParse(text)) return true;
  const { username, password } = new URL(text);
  return username === '' && password === '';
}

const httpUrl = z
  .url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' })
  .refine(holdsNoUserinfo, 'expected a URL without a user name and password');

export const serviceUrl = httpUrl.clone().register(presentations, { as: 'url' });

export const webhookUrl = httpUrl.clone().register(presentations, { as: 'webhook-url' });

export const redisUrl = z
  .string()
  .regex(/^(rediss?|unix):\/\/|^\//, 'expected a redis://, rediss:// or unix:// URL')
  .register(presentations, { as: 'url' });
