terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "5.100.0" }
  }
}
variable "endpoint" { type = string }
variable "zip" { type = string }
variable "runtime" { type = string }
variable "minutes" {
  type    = number
  default = 15
}

provider "aws" {
  region                  = "eu-west-1"
  access_key              = "AKIDEXAMPLE"
  secret_key              = "secret"
  skip_metadata_api_check = true
  endpoints {
    lambda    = var.endpoint
    logs      = var.endpoint
    sts       = var.endpoint
    events    = var.endpoint
    scheduler = var.endpoint
  }
}

resource "aws_lambda_function" "shop" {
  function_name    = "tf-events"
  filename         = var.zip
  source_code_hash = filebase64sha256(var.zip)
  runtime          = var.runtime
  handler          = "index.handler"
  role             = "arn:aws:iam::000000000000:role/any"
}

resource "aws_cloudwatch_event_bus" "shop" {
  name = "tf-shop"
  tags = { team = "shop" }
}

resource "aws_cloudwatch_event_rule" "placed" {
  name           = "tf-placed"
  event_bus_name = aws_cloudwatch_event_bus.shop.name
  description    = "orders of more than ten"
  event_pattern  = jsonencode({ source = ["shop"], detail = { total = [{ numeric = [">", 10] }] } })
  tags           = { team = "shop" }
}

resource "aws_cloudwatch_event_target" "shop" {
  rule           = aws_cloudwatch_event_rule.placed.name
  event_bus_name = aws_cloudwatch_event_bus.shop.name
  target_id      = "shop"
  arn            = aws_lambda_function.shop.arn
  input_transformer {
    input_paths    = { total = "$.detail.total" }
    input_template = "{\"name\": \"order of <total>\"}"
  }
  retry_policy {
    maximum_retry_attempts       = 2
    maximum_event_age_in_seconds = 120
  }
}

resource "aws_cloudwatch_event_rule" "often" {
  name                = "tf-often"
  schedule_expression = "rate(${var.minutes} minutes)"
}

resource "aws_cloudwatch_event_target" "often" {
  rule  = aws_cloudwatch_event_rule.often.name
  arn   = aws_lambda_function.shop.arn
  input = jsonencode({ name = "often" })
}

resource "aws_lambda_permission" "placed" {
  statement_id  = "placed"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.shop.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.placed.arn
}

resource "aws_scheduler_schedule_group" "shop" {
  name = "tf-shop"
  tags = { team = "shop" }
}

resource "aws_scheduler_schedule" "nightly" {
  name                         = "tf-nightly"
  group_name                   = aws_scheduler_schedule_group.shop.name
  schedule_expression          = "cron(${var.minutes} 3 ? * MON-FRI *)"
  schedule_expression_timezone = "Europe/Berlin"
  flexible_time_window {
    mode                      = "FLEXIBLE"
    maximum_window_in_minutes = 10
  }
  target {
    arn      = aws_lambda_function.shop.arn
    role_arn = "arn:aws:iam::000000000000:role/scheduler"
    input    = jsonencode({ name = "<aws.scheduler.scheduled-time>" })
    retry_policy {
      maximum_retry_attempts = 3
    }
  }
}

output "rule" { value = aws_cloudwatch_event_rule.placed.arn }
output "schedule" { value = aws_scheduler_schedule.nightly.arn }
