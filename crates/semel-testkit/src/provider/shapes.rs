//! What is answered to whom: each provider's shape, as far as its SDKs read it.

use serde_json::{Value, json};

use super::answer::Answer;
use super::request::SeenRequest;

/// When all that is made was made, in seconds since 1970. No two answers differ by it.
const CREATED: u64 = 1_700_000_000;

/// A charge that was made.
pub(super) struct Charge<'a> {
    pub(super) order: &'a str,
    /// The how-manieth charge of all orders it is.
    pub(super) number: u64,
    /// How often the order has been charged now.
    pub(super) charged: u32,
}

/// What is answered to a request that charged.
pub(super) fn charged(request: &SeenRequest, charge: &Charge<'_>) -> Answer {
    let path = request.path();
    let answer = if request.method == "PUT" {
        Answer::text(200, "application/xml", "").with("ETag", format!("\"{:032x}\"", charge.number))
    } else if let Some(target) = request.header("x-amz-target") {
        amazon_json(target, charge)
    } else if let Some(action) = request.field("Action") {
        amazon_xml(&action, charge)
    } else if path.ends_with("/chat/completions") {
        open_ai(&request.json(), charge)
    } else if path.ends_with("/v1/messages") {
        anthropic(&request.json(), charge)
    } else if path.ends_with("/v1/charges") {
        stripe("charge", "ch", request, charge)
    } else if path.ends_with("/v1/payment_intents") {
        stripe("payment_intent", "pi", request, charge)
    } else {
        let Charge { order, number, charged } = charge;
        Answer::json(200, &json!({ "order": order, "charge": number, "charged": charged }))
    };
    answer.with("Request-Id", format!("req_{}", charge.number))
}

/// What is answered to a request that reads.
pub(super) fn read(request: &SeenRequest, charged: u32) -> Answer {
    match &request.order {
        Some(order) if request.path().starts_with("/orders/") => {
            Answer::json(200, &json!({ "order": order, "charged": charged }))
        }
        _ => Answer::json(200, &json!({})),
    }
}

/// What a model says, in the parts in which it says it.
fn said(charge: &Charge<'_>) -> [String; 4] {
    ["Charged ".to_owned(), format!("order-{}", charge.order), " as ".to_owned(), {
        format!("{}.", charge.number)
    }]
}

fn open_ai(body: &Value, charge: &Charge<'_>) -> Answer {
    let id = format!("chatcmpl-{}", charge.number);
    let usage = json!({ "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7 });
    if body["stream"] != true {
        let message = json!({ "role": "assistant", "content": said(charge).concat() });
        return Answer::json(
            200,
            &json!({
                "id": id, "object": "chat.completion", "created": CREATED,
                "model": body["model"], "usage": usage,
                "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
            }),
        );
    }
    let event = |delta: Value, finish: Option<&str>| {
        let chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": CREATED,
            "model": body["model"],
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
        });
        (None, chunk.to_string())
    };
    let mut events = vec![event(json!({ "role": "assistant", "content": "" }), None)];
    events.extend(said(charge).map(|text| event(json!({ "content": text }), None)));
    events.push(event(json!({}), Some("stop")));
    events.push((None, "[DONE]".to_owned()));
    Answer::events(&events)
}

fn anthropic(body: &Value, charge: &Charge<'_>) -> Answer {
    let message = |content: Value, stop: Option<&str>, tokens: u32| {
        json!({
            "id": format!("msg_{}", charge.number), "type": "message", "role": "assistant",
            "model": body["model"], "content": content, "stop_reason": stop,
            "stop_sequence": null, "usage": { "input_tokens": 3, "output_tokens": tokens },
        })
    };
    if body["stream"] != true {
        let text = json!([{ "type": "text", "text": said(charge).concat() }]);
        return Answer::json(200, &message(text, Some("end_turn"), 4));
    }
    let mut events = vec![
        json!({ "type": "message_start", "message": message(json!([]), None, 1) }),
        json!({ "type": "content_block_start", "index": 0,
                "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "ping" }),
    ];
    events.extend(said(charge).map(|text| {
        json!({ "type": "content_block_delta", "index": 0,
                "delta": { "type": "text_delta", "text": text } })
    }));
    events.extend([
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "usage": { "output_tokens": 4 },
                "delta": { "stop_reason": "end_turn", "stop_sequence": null } }),
        json!({ "type": "message_stop" }),
    ]);
    let named: Vec<_> =
        events.iter().map(|event| (event["type"].as_str(), event.to_string())).collect();
    Answer::events(&named)
}

fn stripe(object: &str, prefix: &str, request: &SeenRequest, charge: &Charge<'_>) -> Answer {
    let id = format!("{prefix}_{}", charge.number);
    let amount = request.field("amount").and_then(|amount| amount.parse::<u64>().ok());
    Answer::json(
        200,
        &json!({
            "id": id, "object": object, "created": CREATED, "livemode": false,
            "amount": amount.unwrap_or(0),
            "currency": request.field("currency").unwrap_or_else(|| "usd".to_owned()),
            "status": "succeeded", "paid": true, "captured": true,
            "client_secret": format!("{id}_secret"),
            "metadata": { "order": charge.order },
        }),
    )
}

/// SQS's, and an empty object for whatever else speaks its language.
fn amazon_json(target: &str, charge: &Charge<'_>) -> Answer {
    let body = if target.ends_with(".SendMessage") {
        json!({ "MessageId": message_id(charge) })
    } else {
        json!({})
    };
    Answer::text(200, "application/x-amz-json-1.0", body.to_string())
        .with("x-amzn-RequestId", message_id(charge))
}

fn amazon_xml(action: &str, charge: &Charge<'_>) -> Answer {
    let id = message_id(charge);
    let body = format!(
        "<?xml version=\"1.0\"?>\n<{action}Response><{action}Result><MessageId>{id}</MessageId>\
         </{action}Result><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>\
         </{action}Response>"
    );
    Answer::text(200, "text/xml", body)
}

fn message_id(charge: &Charge<'_>) -> String {
    format!("00000000-0000-4000-8000-{:012x}", charge.number)
}
