// Vercel's `ai` with three of its providers: OPENAI_BASE_URL, ANTHROPIC_BASE_URL and their keys say where.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const asked = JSON.parse(process.env.DEEDS);
const { OPENAI_BASE_URL, OPENAI_API_KEY, ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY } = process.env;
const compatible = createOpenAICompatible({
  name: "unbroken", baseURL: OPENAI_BASE_URL, apiKey: OPENAI_API_KEY, supportsStructuredOutputs: true,
});
const openai = createOpenAI({ baseURL: OPENAI_BASE_URL, apiKey: OPENAI_API_KEY });
const anthropic = createAnthropic({ baseURL: `${ANTHROPIC_BASE_URL}/v1`, apiKey: ANTHROPIC_API_KEY });
const once = { maxRetries: 0 };
const tools = {
  look: tool({
    description: "How it is at a place",
    inputSchema: z.object({ place: z.string() }),
    execute: async ({ place }) => `${place}: calm, seven boats.`,
  }),
};
const errand = { ...once, prompt: asked.errand, tools, stopWhen: stepCountIs(3) };

const deeds = {
  chat: async () => (await generateText({ ...once, model: compatible(asked.model), prompt: asked.question })).text,
  stream: async () => joined(streamText({ ...once, model: anthropic(asked.model), prompt: asked.question })),
  tools: async () => (await generateText({ ...errand, model: anthropic(asked.model) })).text,
  tools_stream: async () => joined(streamText({ ...errand, model: compatible(asked.model) })),
  structured: async () => {
    const output = Output.object({ schema: z.object({ name: z.string(), age: z.int() }) });
    return (await generateText({ ...once, model: compatible(asked.model), prompt: asked.ada, output })).output;
  },
  responses: async () => joined(streamText({ ...once, model: openai.responses(asked.model), prompt: asked.question })),
  embeddings: async () => {
    const model = openai.embedding(asked.model);
    const { embeddings } = await embedMany({ ...once, model, values: asked.texts });
    return embeddings.map((row) => row.map((x) => Number(x.toFixed(4))));
  },
};

async function joined(answer) {
  let said = "";
  for await (const text of answer.textStream) said += text;
  return said;
}

for (const [deed, does] of Object.entries(deeds)) {
  console.log(JSON.stringify({ deed, said: await does() }));
}
