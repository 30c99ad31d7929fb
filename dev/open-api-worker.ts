/** The API's description, for docs. Apart from its document because it is checked with the worker's types. */
import { deliveryPaths } from "../workers/api/delivery-description.ts";
import { openApiDocument } from "../workers/api/open-api.ts";
import { routes } from "../workers/api/route-table.ts";

export function describeApi(publicUrl: string): unknown {
  return openApiDocument(routes, publicUrl, deliveryPaths);
}
