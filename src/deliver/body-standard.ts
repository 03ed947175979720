import type { BodyKind } from './body-kind.ts';

/** The event as it is stored, byte for byte. */
export const standardBody: BodyKind = {
  contentType: 'application/json',
  render: (eventText) => eventText,
};
