import type { BodyKindName } from '../core/delivery/delivery.ts';
import { cloudEventsBody } from './body-cloudevents.ts';
import { slackBody } from './body-slack.ts';
import type { BodyKind } from './body-kind.ts';
import { standardBody } from './body-standard.ts';

/** A new kind is a file, a line here, and its name in `core/body-kind.ts`. */
export const BODY_KINDS: Readonly<Record<BodyKindName, BodyKind>> = {
  standard: standardBody,
  cloudevents: cloudEventsBody,
  slack: slackBody,
};
