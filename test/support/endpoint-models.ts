import { ENDPOINT_TYPES, isForPeople } from '../../src/core/delivery/delivery.ts';
import type { EndpointModel } from './services/service.ts';

// The types say which files there must be, so that a new type without one fails each test that reads these tables.
const models = await Promise.all(
  ENDPOINT_TYPES.filter((type) => isForPeople(type)).map(async (type) => {
    const { MODEL } = (await import(`./services/${type}.ts`)) as { MODEL?: EndpointModel };
    if (MODEL === undefined || Object.keys(MODEL.receivers).length === 0) {
      throw new Error(`test/support/services/${type}.ts: expected an export MODEL with receivers`);
    }
    return { type, model: MODEL };
  }),
);

/** Each way to configure an endpoint for people or a pager. */
export const CONFIGURED = models.flatMap(({ type, model }) =>
  Object.entries(model.configured).map(([name, { settings, arrives }]) => ({
    name,
    type,
    settings,
    arrives,
  })),
);

/** Each service that gets messages. */
export const RECEIVERS = models.flatMap(({ type, model }) =>
  Object.entries(model.receivers).map(([name, start]) => ({ name, type, start })),
);
