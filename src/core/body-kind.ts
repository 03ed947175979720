/** The forms in which a webhook can be told of an event; `deliver/body.ts` says what makes them. */
export const BODY_KIND_NAMES = ['standard', 'cloudevents', 'slack'] as const;

export type BodyKindName = (typeof BODY_KIND_NAMES)[number];
