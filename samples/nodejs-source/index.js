// Prints what an event source mapping brings, one line a record, whatever the source.
const text = (base64) => Buffer.from(base64, 'base64').toString();

// records gives the records of an event, each as a few words of where it came from and what it says.
function records(event) {
  if (event.rmqMessagesByQueue) { // Amazon MQ for RabbitMQ: by queue
    return Object.entries(event.rmqMessagesByQueue).flatMap(([queue, all]) => all.map((m) => [queue, text(m.data)]));
  }
  if (event.messages) { // Amazon MQ for ActiveMQ
    return event.messages.map((m) => [m.destination.physicalName, text(m.data)]);
  }
  if (event.events) { // DocumentDB
    return event.events.map(({ event: e }) => [`${e.ns.db}.${e.ns.coll} ${e.operationType}`, JSON.stringify(e.fullDocument)]);
  }
  if (event.records) { // Kafka: by partition
    return Object.values(event.records).flat().map((r) => [`${r.topic}-${r.partition} offset ${r.offset} key ${r.key && text(r.key)}`, text(r.value)]);
  }
  return event.Records.map((r) => {
    if (r.kinesis) return [`${r.eventID} key ${r.kinesis.partitionKey}`, text(r.kinesis.data)];
    if (r.dynamodb) return [r.eventName, JSON.stringify(r.dynamodb.NewImage)];
    return [r.eventSourceARN, r.body]; // Amazon SQS
  });
}

exports.handler = async (event) => {
  const all = records(event);
  for (const [from, what] of all) console.log(`record from ${from}: ${what}`);
  return { seen: all.length };
};
