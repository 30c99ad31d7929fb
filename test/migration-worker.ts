/** Runs before every test file of the workers project: the catalogue has the schema that migrations/ gives it. */
import { applyD1Migrations, type D1Migration } from "cloudflare:test";
import { env } from "cloudflare:workers";

const { CATALOGUE, TEST_MIGRATIONS } = env as typeof env & { TEST_MIGRATIONS: D1Migration[] };
await applyD1Migrations(CATALOGUE, TEST_MIGRATIONS);
