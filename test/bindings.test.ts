/** The worker's test settings name exactly what wrangler.toml declares: no more, no less. */
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { unstable_readConfig } from "wrangler";
import { z } from "zod";
import { QueueName } from "../schemas/command.ts";
import { testBindings } from "./bindings.ts";

const Config = z.object({
  vars: z.record(z.string(), z.string()),
  secrets: z.object({ required: z.array(z.string()) }),
  queues: z.object({
    producers: z.array(z.object({ queue: z.string() })),
    consumers: z.array(
      z.object({ queue: z.string(), max_batch_size: z.number(), dead_letter_queue: z.string().optional() }),
    ),
  }),
});

const configFile = fileURLToPath(new URL("../wrangler.toml", import.meta.url));
const config = Config.parse(unstable_readConfig({ config: configFile }, { hideWarnings: true }));

test("every setting and secret has a test value", () => {
  const declared = [...Object.keys(config.vars), ...config.secrets.required];
  expect(Object.keys(testBindings).sort()).toEqual(declared.sort());
});

test("signing keys are long enough for HS256", () => {
  for (const keys of [testBindings.JWT_KEYS, testBindings.PLAYBACK_KEYS]) {
    for (const secret of Object.values(JSON.parse(keys) as Record<string, string>)) {
      expect(Buffer.from(secret, "base64url").length).toBeGreaterThanOrEqual(32);
    }
  }
});

const consumerOf = (queue: string) => config.queues.consumers.find((consumer) => consumer.queue === queue);

test("every queue that we send to ends in a dead-letter queue that is consumed", () => {
  const queues = config.queues.producers.map((producer) => producer.queue);
  expect(queues.toSorted()).toEqual(QueueName.options.toSorted());
  for (const queue of queues) {
    // gpu-runner pulls these over HTTP: their dead-letter queues are named where those consumers are created.
    if (!queue.startsWith("transcode")) expect(consumerOf(queue)?.dead_letter_queue).toBe(`${queue}-dead`);
    expect(consumerOf(`${queue}-dead`), `${queue}-dead`).toBeDefined();
  }
});

test("a consumer takes one message at a time, but for the catalogue's", () => {
  for (const { queue, max_batch_size } of config.queues.consumers) {
    expect(max_batch_size, queue).toBe(queue === "catalogue" ? 100 : 1);
  }
});
