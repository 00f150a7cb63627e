terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "5.100.0" }
  }
}
variable "endpoint" { type = string }
variable "function" { type = string }
variable "name" {
  type    = string
  default = "Orders"
}

provider "aws" {
  region                  = "eu-west-1"
  access_key              = "AKIDEXAMPLE"
  secret_key              = "secret"
  skip_metadata_api_check = true
  endpoints {
    lambda = var.endpoint
    sns    = var.endpoint
    sts    = var.endpoint
  }
}

resource "aws_sns_topic" "orders" {
  name              = "tf-orders"
  display_name      = var.name
  signature_version = 2
  delivery_policy = jsonencode({ http = {
    defaultHealthyRetryPolicy    = { minDelayTarget = 1, maxDelayTarget = 5, numRetries = 4, numMaxDelayRetries = 0, numNoDelayRetries = 1, numMinDelayRetries = 0, backoffFunction = "linear" }
    disableSubscriptionOverrides = false
  } })
  tags = { team = "shop" }
}

resource "aws_sns_topic" "ordered" {
  name                        = "tf-ordered.fifo"
  fifo_topic                  = true
  content_based_deduplication = true
}

resource "aws_sns_topic_policy" "orders" {
  arn = aws_sns_topic.orders.arn
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = "buckets", Effect = "Allow", Principal = { Service = "s3.amazonaws.com" }, Action = "SNS:Publish", Resource = aws_sns_topic.orders.arn,
    Condition = { StringEquals = { "aws:SourceAccount" = "000000000000" } } }] })
}

resource "aws_lambda_permission" "orders" {
  statement_id  = "orders"
  action        = "lambda:InvokeFunction"
  function_name = var.function
  principal     = "sns.amazonaws.com"
  source_arn    = aws_sns_topic.orders.arn
}

resource "aws_sns_topic_subscription" "function" {
  topic_arn           = aws_sns_topic.orders.arn
  protocol            = "lambda"
  endpoint            = var.function
  filter_policy_scope = "MessageBody"
  filter_policy       = jsonencode({ order = { kind = ["new"] } })
  redrive_policy      = jsonencode({ deadLetterTargetArn = "arn:aws:sqs:eu-west-1:000000000000:dead" })
  depends_on          = [aws_lambda_permission.orders]
}

resource "aws_sns_topic_subscription" "queue" {
  topic_arn            = aws_sns_topic.ordered.arn
  protocol             = "sqs"
  endpoint             = "arn:aws:sqs:eu-west-1:000000000000:ordered.fifo"
  raw_message_delivery = true
}

output "topic" { value = aws_sns_topic.orders.arn }
