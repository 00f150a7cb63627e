"""Reads an event with Powertools for AWS Lambda, as a handler does, and prints what it finds."""
import json
import sys

event = json.loads(sys.argv[2])


def kafka(event):
    from aws_lambda_powertools.utilities.data_classes import KafkaEvent
    from aws_lambda_powertools.utilities.parser import parse
    from aws_lambda_powertools.utilities.parser.models import KafkaMskEventModel, KafkaSelfManagedEventModel

    model = KafkaMskEventModel if event["eventSource"] == "aws:kafka" else KafkaSelfManagedEventModel
    found = parse(event=json.loads(json.dumps(event)), model=model).model_dump(mode="json")
    record = next(KafkaEvent(event).records)
    found["decoded"] = [record.decoded_key.decode(), record.json_value, record.decoded_headers["traceparent"].decode()]
    return found


def avro(event):
    from aws_lambda_powertools.utilities.kafka import ConsumerRecords, SchemaConfig, kafka_consumer

    @kafka_consumer(schema_config=SchemaConfig(value_schema_type="AVRO", value_schema=sys.argv[3]))
    def handler(event: ConsumerRecords, context):
        return [record.value for record in event.records]

    return handler(event, None)


def activemq(event):
    from aws_lambda_powertools.utilities.data_classes.active_mq_event import ActiveMQEvent

    e = ActiveMQEvent(event)
    m = e.message
    return {
        "event": [e.event_source, e.event_source_arn], "id": m.message_id, "type": m.message_type, "json": m.json_data,
        "destination": m.destination_physicalname, "redelivered": m.redelivered, "properties": m.properties,
        "times": [m.timestamp > 0, m.broker_in_time > 0, m.broker_out_time > 0, m.expiration > 0],
        "jms": [m.delivery_mode, m.correlation_id, m.reply_to, m.get_type, m.priority],
    }


def rabbitmq(event):
    from aws_lambda_powertools.utilities.data_classes.rabbit_mq_event import RabbitMQEvent

    e = RabbitMQEvent(event)
    (queue, messages), = e.rmq_messages_by_queue.items()
    m = messages[0]
    p = m.basic_properties
    return {
        "event": [e.event_source, e.event_source_arn], "queue": queue, "json": m.json_data, "redelivered": m.redelivered, "headers": p.headers,
        "texts": [p.content_type, p.content_encoding, p.correlation_id, p.reply_to, p.expiration, p.message_id, p.timestamp, p.get_type, p.user_id,
                  p.app_id, p.cluster_id],
        "numbers": [p.delivery_mode, p.priority, p.body_size],
    }


print(json.dumps(globals()[sys.argv[1]](event), default=str))
