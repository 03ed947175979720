import { routes, type Route } from '../../src/http/schemas/routes.ts';

/** Every route of the table. */
export const ROUTES: readonly Route[] = Object.values(routes).flatMap((own) =>
  Object.values<Route>(own),
);
