// Reads a list of AsyncAPI documents from stdin and prints, as JSON, what the AsyncAPI project's parser makes of each.
const { Parser } = require("@asyncapi/parser");
const { readFileSync } = require("node:fs");

const places = (diagnostic) => `${diagnostic.code} at ${diagnostic.path.join(".")}: ${diagnostic.message}`;

const told = ({ document, diagnostics }) => {
  const worse = (severity) => diagnostics.filter((d) => d.severity === severity).map(places);
  const channels = document ? document.channels().all() : [];
  const messages = channels.flatMap((channel) => channel.messages().all().map((message) => message.id()));
  return { errors: worse(0), warnings: worse(1), channels: channels.map((c) => c.address()), messages };
};

const parser = new Parser();
const documents = JSON.parse(readFileSync(0, "utf8"));
Promise.all(documents.map((document) => parser.parse(JSON.stringify(document)))).then((parsed) =>
  process.stdout.write(JSON.stringify(parsed.map(told))),
);
