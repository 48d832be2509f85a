//! The JSON schema of a pipeline file, for editors.
//!
//! Shapes only: what a value means beside other values is found when the file is
//! read.

use serde_json::{Map, Value, json};

use super::{Keys, Shape};

/// The schema of a file with these keys.
pub(super) fn schema(keys: &dyn Keys) -> Value {
    let mut schema = table(keys);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("a pipeline file of semel");
    schema["required"] = json!(["name"]);
    // `semel proxy` reads a file with rules alone.
    schema["anyOf"] = json!([{ "required": ["step"] }, { "required": ["call"] }]);
    schema
}

fn table(keys: &dyn Keys) -> Value {
    let keys = keys.keys().into_iter().map(|(name, about, shape)| {
        let mut schema = of(shape);
        schema["description"] = json!(about);
        (name.to_owned(), schema)
    });
    let properties: Map<_, _> = keys.collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn of(shape: Shape) -> Value {
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Scalar => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Whole(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Shape::Time => json!({ "type": "string", "examples": ["90s", "1m30s", "24h"] }),
        Shape::Condition => json!({ "type": ["string", "integer"], "examples": [">= 1"] }),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::Command => one_or_more(&json!({ "type": "string" })),
        Shape::Either(shapes) => {
            json!({ "anyOf": shapes.iter().map(|shape| of(*shape)).collect::<Vec<_>>() })
        }
        Shape::OneOrMore(shape) => one_or_more(&of(*shape)),
        Shape::ListOf(shape) => json!({ "type": "array", "items": of(*shape) }),
        Shape::Any => json!({}),
        Shape::Named(shape) => json!({ "type": "object", "additionalProperties": of(*shape) }),
        Shape::Table(keys) => table(keys),
    }
}

fn one_or_more(one: &Value) -> Value {
    let many = json!({ "type": "array", "items": one, "minItems": 1 });
    json!({ "anyOf": [one, many] })
}
