# boto3 and topics: from create to delete, with paginators, batches and filters. Arguments: ARN of a function.
import json, sys
import boto3
from botocore.exceptions import ClientError

function = sys.argv[1]
sns, functions = boto3.client('sns'), boto3.client('lambda')

def refused(code, f, **kw):
    try:
        f(**kw)
    except ClientError as e:
        assert e.response['Error']['Code'] == code, e
        return e.response['Error']['Message']
    raise AssertionError('%s was not refused' % kw)

arn = sns.create_topic(Name='boto3-orders', Tags=[{'Key': 'team', 'Value': 'a'}])['TopicArn']
assert arn.endswith(':boto3-orders'), arn
assert sns.create_topic(Name='boto3-orders')['TopicArn'] == arn
assert arn in [t['TopicArn'] for page in sns.get_paginator('list_topics').paginate() for t in page['Topics']]
functions.add_permission(FunctionName=function, StatementId='sns', Action='lambda:InvokeFunction', Principal='sns.amazonaws.com', SourceArn=arn)
sub = sns.subscribe(TopicArn=arn, Protocol='lambda', Endpoint=function, ReturnSubscriptionArn=True,
                    Attributes={'FilterPolicy': json.dumps({'kind': ['order', {'prefix': 'refund-'}], 'amount': [{'numeric': ['>=', 10]}]})})['SubscriptionArn']
got = sns.get_subscription_attributes(SubscriptionArn=sub)['Attributes']
assert got['FilterPolicyScope'] == 'MessageAttributes' and got['PendingConfirmation'] == 'false' and got['Endpoint'] == function, got

def attributes(kind, amount):
    return {'kind': {'DataType': 'String', 'StringValue': kind}, 'amount': {'DataType': 'Number', 'StringValue': amount}, 'raw': {'DataType': 'Binary', 'BinaryValue': b'\x01\xff'}}

assert sns.publish(TopicArn=arn, Message='boto3 one', Subject='s', MessageAttributes=attributes('order', '10.0'))['MessageId']
sns.publish(TopicArn=arn, Message='boto3 dropped', MessageAttributes=attributes('order', '9'))
out = sns.publish_batch(TopicArn=arn, PublishBatchRequestEntries=[
    {'Id': str(i), 'Message': json.dumps({'default': 'boto3 batch %d' % i}), 'MessageStructure': 'json', 'MessageAttributes': attributes('refund-%d' % i, '1e3')} for i in range(10)])
assert len(out['Successful']) == 10 and not out.get('Failed'), out
assert 'more entries' in refused('TooManyEntriesInBatchRequest', sns.publish_batch, TopicArn=arn, PublishBatchRequestEntries=[{'Id': str(i), 'Message': 'm'} for i in range(11)])
refused('BatchEntryIdsNotDistinct', sns.publish_batch, TopicArn=arn, PublishBatchRequestEntries=[{'Id': 'a', 'Message': 'm'}] * 2)
refused('InvalidParameter', sns.subscribe, TopicArn=arn, Protocol='email', Endpoint='a@example.com')
refused('NotFound', sns.publish, TopicArn=arn + '2', Message='m')
refused('ParameterValueInvalid', sns.publish, TopicArn=arn, Message='m', MessageAttributes={'a..b': {'DataType': 'String', 'StringValue': 'x'}})

sns.set_topic_attributes(TopicArn=arn, AttributeName='DisplayName', AttributeValue='Bestellungen für alle')
assert sns.get_topic_attributes(TopicArn=arn)['Attributes']['DisplayName'] == 'Bestellungen für alle'
sns.add_permission(TopicArn=arn, Label='other', AWSAccountId=['222222222222'], ActionName=['Publish', 'Subscribe'])
assert 'other' in sns.get_topic_attributes(TopicArn=arn)['Attributes']['Policy']
sns.remove_permission(TopicArn=arn, Label='other')
sns.tag_resource(ResourceArn=arn, Tags=[{'Key': 'team', 'Value': 'b'}])
assert sns.list_tags_for_resource(ResourceArn=arn)['Tags'] == [{'Key': 'team', 'Value': 'b'}]
fifo = sns.create_topic(Name='boto3.fifo', Attributes={'FifoTopic': 'true', 'ContentBasedDeduplication': 'true'})['TopicArn']
one, two = [sns.publish(TopicArn=fifo, Message='m', MessageGroupId='g') for _ in range(2)]
assert one['SequenceNumber'] == two['SequenceNumber'] and len(one['SequenceNumber']) == 20 and one['MessageId'] == two['MessageId'], (one, two)
sns.unsubscribe(SubscriptionArn=sub)
assert [s for page in sns.get_paginator('list_subscriptions_by_topic').paginate(TopicArn=arn) for s in page['Subscriptions']] == []
for t in arn, fifo:
    sns.delete_topic(TopicArn=t)
refused('NotFound', sns.get_topic_attributes, TopicArn=arn)
