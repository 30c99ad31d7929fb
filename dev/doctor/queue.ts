/** The queues, as Cloudflare's API tells them: each is there, is consumed, and buries what fails in its dead-letter queue. */
import { z } from "zod";
import { deadLetterQueueOf, QueueName, queueOf } from "../../schemas/command.ts";
import { check, failed, type Group, notCheckable, ok, type Verdict } from "./check.ts";
import type { Answer } from "./s3-probe.ts";
import { jsonOf, type World } from "./world.ts";

const Consumer = z.object({
  type: z.string(),
  /** The API has had both names. */
  script: z.string().optional(),
  script_name: z.string().optional(),
  dead_letter_queue: z.string().optional(),
});

const Queue = z.object({
  queue_id: z.string(),
  queue_name: z.string(),
  consumers: z.array(Consumer).default([]),
  settings: z
    .object({ message_retention_period: z.number().optional(), delivery_paused: z.boolean().optional() })
    .optional(),
});
export type Queue = z.infer<typeof Queue>;

const Page = z.object({
  result: z.array(Queue),
  result_info: z.object({ total_pages: z.number().optional() }).nullish(),
});

export type QueueList = { queues: Queue[] } | { trouble: Answer };

const mostPages = 50;

async function listQueues({ queueApi }: World): Promise<QueueList> {
  const queues: Queue[] = [];
  for (let page = 1; page <= mostPages; page++) {
    const answer = await queueApi(`/queues?page=${page}&per_page=100`);
    const parsed = Page.safeParse(jsonOf(answer.text));
    if (answer.status !== 200 || !parsed.success) return { trouble: answer };
    queues.push(...parsed.data.result);
    if (page >= (parsed.data.result_info?.total_pages ?? 1)) break;
  }
  return { queues };
}

const daySeconds = 24 * 3600;
/** Cloudflare's default. Whatever stops a consumer for a weekend must not cost a message. */
const shortestRetentionSeconds = 4 * daySeconds;

const pulled = new Set<QueueName>([0, 100].map((priority) => queueOf({ type: "EnqueueTranscode", priority })));

type Fault = { what: string; fix: string };

function consumerFaults(queue: Queue, kind: "worker" | "http_pull", buries: string | null): Fault[] {
  const { queue_name: name, consumers } = queue;
  const add =
    kind === "worker"
      ? "npx wrangler deploy"
      : `npx wrangler queues consumer http add ${name} --dead-letter-queue ${name}-dead`;
  const own = consumers.filter(({ type }) => type === kind);
  if (own.length === 0) {
    const others = consumers.map(({ type }) => type).join(", ");
    return [{ what: `${name} has no ${kind} consumer${others === "" ? "" : ` but ${others}`}`, fix: add }];
  }
  if (buries === null || own.every(({ dead_letter_queue }) => dead_letter_queue === buries)) return [];
  const again = kind === "worker" ? add : `npx wrangler queues consumer http remove ${name} && ${add}`;
  return [{ what: `${name} buries what fails nowhere: its dead-letter queue should be ${buries}`, fix: again }];
}

function settingFaults({ queue_name: name, settings }: Queue): Fault[] {
  const retention = settings?.message_retention_period;
  return [
    ...(retention === undefined || retention >= shortestRetentionSeconds
      ? []
      : [
          {
            what: `${name} keeps messages for ${(retention / daySeconds).toFixed(1)} days only`,
            fix: `npx wrangler queues update ${name} --message-retention-period-secs ${shortestRetentionSeconds}`,
          },
        ]),
    ...(settings?.delivery_paused === true
      ? [{ what: `${name} is paused`, fix: `npx wrangler queues resume-delivery ${name}` }]
      : []),
  ];
}

/** One queue with its dead-letter queue. */
export function judgeQueue(name: QueueName, queues: readonly Queue[]): Verdict {
  const dead = deadLetterQueueOf(name);
  const faults = [name, dead].flatMap((each): Fault[] => {
    const queue = queues.find(({ queue_name }) => queue_name === each);
    if (queue === undefined) return [{ what: `${each} does not exist`, fix: `npx wrangler queues create ${each}` }];
    const kind = each === name && pulled.has(name) ? "http_pull" : "worker";
    return [...consumerFaults(queue, kind, each === name ? dead : null), ...settingFaults(queue)];
  });
  if (faults.length === 0) return ok("consumed, with a dead-letter queue");
  const what = faults.map((fault) => fault.what).join("; ");
  return failed(
    `${what}: its messages are lost or wait for ever.`,
    [...new Set(faults.map(({ fix }) => fix))].join(" && "),
  );
}

/** A stand-in keeps no messages for days and says nothing of it. */
export function judgeRetention(queues: readonly Queue[]): Verdict {
  const expected = QueueName.options.flatMap((name) => [name, deadLetterQueueOf(name)] as string[]);
  const told = queues.filter(({ queue_name }) => expected.includes(queue_name));
  const known = told.flatMap(({ settings }) => settings?.message_retention_period ?? []);
  if (known.length < told.length || known.length === 0)
    return notCheckable("The API does not tell how long messages are kept.");
  const shortest = Math.min(...known);
  if (shortest >= shortestRetentionSeconds) return ok(`${(shortest / daySeconds).toFixed(0)} days or longer`);
  return failed(
    "A queue keeps messages for less than 4 days.",
    `npx wrangler queues update NAME --message-retention-period-secs ${shortestRetentionSeconds}`,
  );
}

/** The worker pulls by these. */
export function judgeQueueIds(ids: Readonly<Record<string, string>> | null, queues: readonly Queue[]): Verdict {
  if (ids === null) return notCheckable("The worker's self-test did not answer.");
  const wrong = Object.entries(ids).filter(
    ([name, id]) => queues.find(({ queue_name }) => queue_name === name)?.queue_id !== id,
  );
  if (wrong.length === 0) return ok();
  return failed(
    `The worker pulls another queue than ${wrong.map(([name]) => name).join(" and ")}: no runner gets its jobs.`,
    `${wrong.map(([name]) => `npx wrangler queues info ${name}`).join("; ")}: put the id into wrangler.toml and deploy.`,
  );
}

function judgeTrouble({ status, code }: Answer): Verdict {
  if (status === 0) return failed(`Cloudflare's API did not answer (${code ?? "no reason"}).`, "Check QUEUES_API_URL.");
  if (status === 401 || status === 403 || status === 400) {
    return failed(
      `Cloudflare's API refuses QUEUES_TOKEN for this account (HTTP ${status}).`,
      "Make an API token with Queues: Read, and check CLOUDFLARE_ACCOUNT_ID (npx wrangler whoami).",
    );
  }
  return notCheckable(`Cloudflare's API answered HTTP ${status}.`);
}

function checkOf(name: string, list: QueueList | null, judge: (queues: readonly Queue[]) => Verdict) {
  return check({
    name,
    gather: async (_world: World) => list,
    judge(found) {
      if (found === null) return notCheckable("CLOUDFLARE_ACCOUNT_ID and QUEUES_TOKEN are not set.");
      return "trouble" in found ? judgeTrouble(found.trouble) : judge(found.queues);
    },
  });
}

export const queueGroup: Group<World> = {
  title: "Queues",
  async checks(world) {
    const list = world.settings.queues === null ? null : await listQueues(world);
    // One line for what is true of all.
    if (list === null || "trouble" in list) return [checkOf("Cloudflare's API", list, () => ok())];
    const { report } = await world.selfTest();
    return [
      ...QueueName.options.map((name) => checkOf(name, list, (queues) => judgeQueue(name, queues))),
      checkOf("ids in the worker's settings", list, (queues) =>
        judgeQueueIds(report?.settings.pulledQueueIds ?? null, queues),
      ),
      checkOf("retention", list, judgeRetention),
    ];
  },
};
