//! Which type each column has, and cells to protocol values.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value as Json;

use super::rows::Cell;
use crate::cli::value::{timestamp_message, type_name, type_of_name};
use crate::model::{self, Finite, limit};
use crate::proto::value::Kind;
use crate::proto::{StringSet, Value, ValueType};

/// What is to be done with a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    /// Values of this type.
    Of(ValueType),
    /// Texts of a set with this between them.
    SetBy(char),
    /// Nothing.
    Ignore,
}

impl ColumnType {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Of(value_type) => type_name(*value_type).into(),
            Self::SetBy(separator) => format!("string_set({separator})"),
            Self::Ignore => "ignore".into(),
        }
    }
}

/// Reads `name=type` as given on the command line.
fn parse_column_type(text: &str) -> Result<(String, ColumnType), String> {
    let wanted = "expected COLUMN=TYPE with a type of bool, string, string_set(;), int64, double, timestamp, version or ignore";
    let (column, name) = text.rsplit_once('=').ok_or(wanted)?;
    let column_type = if name == "ignore" {
        ColumnType::Ignore
    } else if let Some(separator) = name
        .strip_prefix("string_set(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        let mut characters = separator.chars();
        match (characters.next(), characters.next()) {
            (Some(separator), None) => ColumnType::SetBy(separator),
            _ => return Err("a set is separated by one character, such as string_set(;)".into()),
        }
    } else {
        match type_of_name(name) {
            Some(ValueType::StringSet) => ColumnType::SetBy(';'),
            Some(value_type) => ColumnType::Of(value_type),
            None => return Err(wanted.into()),
        }
    };
    Ok((column.to_owned(), column_type))
}

/// The types of some columns, as given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColumnTypes(pub(super) Vec<(String, ColumnType)>);

impl FromStr for ColumnTypes {
    type Err = String;

    /// Reads `name=type,name=type`. The comma that separates the elements of a set, as in
    /// `string_set(,)`, separates no columns.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut types = Vec::new();
        let mut pieces = text.split(',').peekable();
        while let Some(piece) = pieces.next() {
            let is_cut = piece.ends_with("=string_set(") && pieces.peek() == Some(&")");
            if is_cut {
                pieces.next();
                types.push(parse_column_type(&format!("{piece},)"))?);
            } else {
                types.push(parse_column_type(piece)?);
            }
        }
        Ok(Self(types))
    }
}

/// What the cells of a column have been so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    cells: u64,
    bools: u64,
    whole: u64,
    numbers: u64,
    timestamps: u64,
    sets: u64,
}

/// Infers the types of columns from a sample of rows.
#[derive(Debug, Default)]
pub(super) struct Inference {
    columns: BTreeMap<String, Seen>,
}

impl Inference {
    pub(super) fn see(&mut self, column: &str, cell: &Cell) {
        if !self.columns.contains_key(column) {
            self.columns.insert(column.to_owned(), Seen::default());
        }
        let Some(seen) = self.columns.get_mut(column) else {
            return;
        };
        match cell {
            Cell::Text(text) => {
                seen.cells += 1;
                seen.bools += u64::from(parse_bool(text).is_some());
                seen.whole += u64::from(!has_leading_zero(text) && text.parse::<i64>().is_ok());
                seen.numbers += u64::from(is_number(text));
                seen.timestamps += u64::from(text.parse::<model::Timestamp>().is_ok());
            }
            Cell::Json(Json::Null | Json::Object(_)) => {}
            Cell::Json(json) => {
                seen.cells += 1;
                seen.bools += u64::from(json.is_boolean());
                seen.whole += u64::from(json.is_i64());
                seen.numbers += u64::from(json.is_number() && !is_too_large(json));
                seen.sets += u64::from(json.is_array());
                let timestamp = json
                    .as_str()
                    .is_some_and(|text| text.parse::<model::Timestamp>().is_ok());
                seen.timestamps += u64::from(timestamp);
            }
        }
    }

    /// The type that all cells of a column can have.
    pub(super) fn column_type(&self, column: &str) -> ColumnType {
        let seen = self.columns.get(column).copied().unwrap_or_default();
        let all = |count: u64| count > 0 && count == seen.cells;
        ColumnType::Of(if all(seen.bools) {
            ValueType::Bool
        } else if all(seen.whole) {
            ValueType::Int64
        } else if all(seen.numbers) {
            ValueType::Double
        } else if all(seen.timestamps) {
            ValueType::Timestamp
        } else if all(seen.sets) {
            ValueType::StringSet
        } else {
            ValueType::String
        })
    }

    /// The columns seen.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }
}

/// Whether a text can be a double without losing anything but what doubles always lose. Digits
/// such as 18446744073709551615 are somebody's number for something: as a double they would be
/// rounded, so that two of them become one.
fn is_number(text: &str) -> bool {
    let is_whole = text
        .strip_prefix(['-', '+'])
        .unwrap_or(text)
        .bytes()
        .all(|byte| byte.is_ascii_digit());
    !has_leading_zero(text)
        && parse_double(text).is_some()
        && (!is_whole || text.parse::<i64>().is_ok())
}

/// Whether a JSON number is whole, but no int64.
fn is_too_large(json: &Json) -> bool {
    match json {
        Json::Number(number) => !number.is_i64() && !is_number(&number.to_string()),
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => false,
    }
}

/// Numbers such as 007 are codes, not numbers.
fn has_leading_zero(text: &str) -> bool {
    let digits = text.trim_start_matches('-');
    digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.")
}

fn parse_bool(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

pub(super) fn parse_double(text: &str) -> Option<f64> {
    // Rust reads "inf" and "nan" as numbers, people write them as texts.
    let number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    let parsed = number.then(|| text.parse::<f64>().ok()).flatten()?;
    Finite::new(parsed).map(Finite::get)
}

/// The protocol value of a cell; `None` if there is no value.
pub(super) fn convert(
    column: &str,
    column_type: &ColumnType,
    cell: &Cell,
) -> Result<Option<Value>, String> {
    let kind = match (column_type, cell) {
        (ColumnType::Ignore, _) => return Ok(None),
        (_, Cell::Json(Json::Null)) => Kind::NullValue(0),
        (ColumnType::SetBy(separator), Cell::Text(text)) => {
            let elements = text
                .split(*separator)
                .map(str::trim)
                .filter(|element| !element.is_empty());
            set(column, elements.map(str::to_owned).collect())?
        }
        (
            ColumnType::SetBy(_) | ColumnType::Of(ValueType::StringSet),
            Cell::Json(Json::Array(items)),
        ) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            match texts.collect::<Option<Vec<_>>>() {
                Some(elements) => set(column, elements)?,
                None => return Err(format!("column {column:?}: a set has texts only")),
            }
        }
        (ColumnType::Of(value_type), Cell::Text(text)) => from_text(column, *value_type, text)?,
        (ColumnType::Of(value_type), Cell::Json(json)) => from_json(column, *value_type, json)?,
        (ColumnType::SetBy(_), Cell::Json(json)) => {
            return Err(misfit_json(column, ValueType::StringSet, json));
        }
    };
    Ok(Some(Value { kind: Some(kind) }))
}

fn from_text(column: &str, value_type: ValueType, text: &str) -> Result<Kind, String> {
    let kind = match value_type {
        ValueType::Bool => parse_bool(text).map(Kind::BoolValue),
        ValueType::String => return string(column, text),
        ValueType::Int64 => text.parse().ok().map(Kind::Int64Value),
        ValueType::Double => parse_double(text).map(Kind::DoubleValue),
        ValueType::Timestamp => text.parse().ok().map(timestamp),
        ValueType::Version => {
            let version = text.parse::<model::Version>();
            version
                .ok()
                .map(|version| Kind::VersionValue(version.to_string()))
        }
        ValueType::StringSet => return set(column, vec![text.to_owned()]),
        ValueType::Unspecified => None,
    };
    kind.ok_or_else(|| misfit(column, value_type, text))
}

fn from_json(column: &str, value_type: ValueType, json: &Json) -> Result<Kind, String> {
    let kind = match (value_type, json) {
        (ValueType::Bool, Json::Bool(value)) => Some(Kind::BoolValue(*value)),
        (ValueType::Int64, Json::Number(number)) => number.as_i64().map(Kind::Int64Value),
        (ValueType::Double, Json::Number(number)) => number.as_f64().map(Kind::DoubleValue),
        (ValueType::String | ValueType::Timestamp | ValueType::Version, Json::String(text)) => {
            return from_text(column, value_type, text);
        }
        (ValueType::String, Json::Bool(_) | Json::Number(_)) => {
            return string(column, &json.to_string());
        }
        _ => None,
    };
    kind.ok_or_else(|| misfit_json(column, value_type, json))
}

fn timestamp(timestamp: model::Timestamp) -> Kind {
    Kind::TimestampValue(timestamp_message(timestamp))
}

fn string(column: &str, text: &str) -> Result<Kind, String> {
    check_length(column, text)?;
    Ok(Kind::StringValue(text.to_owned()))
}

fn set(column: &str, elements: Vec<String>) -> Result<Kind, String> {
    elements
        .iter()
        .try_for_each(|element| check_length(column, element))?;
    Ok(Kind::StringSetValue(StringSet { elements }))
}

fn check_length(column: &str, text: &str) -> Result<(), String> {
    limit::TEXT_BYTES
        .check(text.len() as u64)
        .map_err(|exceeded| format!("column {column:?}: {exceeded}"))
}

fn misfit(column: &str, value_type: ValueType, given: &str) -> String {
    let name = type_name(value_type);
    let short: String = given.chars().take(40).collect();
    let otherwise = if value_type == ValueType::String {
        "ignore"
    } else {
        "string"
    };
    format!(
        "column {column:?}: {short:?} is no {name} (to read the column otherwise: --types '{column}={otherwise}')"
    )
}

/// What to say of a JSON value that no property of this type can have.
fn misfit_json(column: &str, value_type: ValueType, json: &Json) -> String {
    let name = type_name(value_type);
    let given = match json {
        Json::Object(_) => "an object",
        Json::Array(_) => "a list",
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            return misfit(column, value_type, &json.to_string());
        }
    };
    format!(
        "column {column:?}: {given} is no {name} (to leave the column out: --types '{column}=ignore')"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn inferred(cells: &[&str]) -> String {
        let mut inference = Inference::default();
        for cell in cells {
            inference.see("x", &Cell::Text((*cell).into()));
        }
        inference.column_type("x").name()
    }

    #[test]
    fn types_are_inferred_from_texts() {
        assert_eq!(inferred(&["true", "FALSE"]), "bool");
        assert_eq!(inferred(&["0", "-3", "41"]), "int64");
        assert_eq!(inferred(&["0", "29.85", "1e3"]), "double");
        assert_eq!(inferred(&["007", "12"]), "string");
        assert_eq!(inferred(&["0.5", "-0.5"]), "double");
        assert_eq!(
            inferred(&["2026-01-31", "2026-01-31T10:00:00+01:00"]),
            "timestamp"
        );
        assert_eq!(inferred(&["Yes", "No"]), "string");
        assert_eq!(inferred(&["inf", "nan"]), "string");
        assert_eq!(inferred(&["2.10", "2.9"]), "double");
        assert_eq!(inferred(&["1", "x"]), "string");
        assert_eq!(inferred(&[]), "string");
    }

    #[test]
    fn types_are_inferred_from_json() {
        let infer = |cells: &[Json]| {
            let mut inference = Inference::default();
            for cell in cells {
                inference.see("x", &Cell::Json(cell.clone()));
            }
            inference.column_type("x").name()
        };
        assert_eq!(infer(&[json!(1), json!(null), json!(2)]), "int64");
        assert_eq!(infer(&[json!(1), json!(2.5)]), "double");
        assert_eq!(infer(&[json!(["a"]), json!([])]), "string_set");
        assert_eq!(infer(&[json!("2026-01-31")]), "timestamp");
        assert_eq!(infer(&[json!("a"), json!(1)]), "string");
    }

    #[test]
    fn whole_numbers_that_are_no_int64_are_kept_digit_by_digit() {
        assert_eq!(inferred(&["1", "9223372036854775807"]), "int64");
        assert_eq!(inferred(&["1", "9223372036854775808"]), "string");
        assert_eq!(inferred(&["-9223372036854775809"]), "string");
        assert_eq!(inferred(&["1e300", "9223372036854775808.0"]), "double");
        let mut inference = Inference::default();
        inference.see("x", &Cell::Json(json!(1)));
        inference.see("x", &Cell::Json(json!(u64::MAX)));
        let column_type = inference.column_type("x");
        let value = convert("x", &column_type, &Cell::Json(json!(u64::MAX))).unwrap();
        assert_eq!(
            crate::cli::value::text(&value.unwrap()),
            "18446744073709551615"
        );
    }

    #[test]
    fn a_comma_can_stand_between_the_elements_of_a_set() {
        let read = |text: &str| {
            let ColumnTypes(types) = text.parse().unwrap();
            let names = types
                .iter()
                .map(|(column, kind)| format!("{column}:{}", kind.name()));
            names.collect::<Vec<_>>()
        };
        assert_eq!(read("a=string_set(,)"), ["a:string_set(,)"]);
        assert_eq!(
            read("n=int64,a=string_set(,),b=string_set(;),c=ignore"),
            ["n:int64", "a:string_set(,)", "b:string_set(;)", "c:ignore"]
        );
        assert!("a=string_set(,".parse::<ColumnTypes>().is_err());
        assert!("a=int64,".parse::<ColumnTypes>().is_err());
    }

    #[test]
    fn what_no_property_can_hold_is_to_be_left_out() {
        let column_type = ColumnType::Of(ValueType::String);
        let error = convert("x", &column_type, &Cell::Json(json!({"a": 1}))).unwrap_err();
        assert!(
            error.contains("an object is no string") && error.contains("x=ignore"),
            "{error}"
        );
    }

    #[test]
    fn types_are_read() {
        let read = |text| {
            parse_column_type(text).map(|(column, column_type)| (column, column_type.name()))
        };
        assert_eq!(read("age=int64"), Ok(("age".into(), "int64".into())));
        assert_eq!(
            read("a=b=string_set(|)"),
            Ok(("a=b".into(), "string_set(|)".into()))
        );
        assert_eq!(
            read("tags=string_set"),
            Ok(("tags".into(), "string_set(;)".into()))
        );
        assert_eq!(read("x=ignore"), Ok(("x".into(), "ignore".into())));
        assert!(
            read("age").is_err() && read("age=integer").is_err() && read("t=string_set()").is_err()
        );
    }

    #[test]
    fn cells_become_values_or_say_why_not() {
        let converted = |name: &str, text: &str| {
            let (_, column_type) = parse_column_type(&format!("x={name}")).unwrap();
            convert("x", &column_type, &Cell::Text(text.into()))
                .map(|value| crate::cli::value::text(&value.unwrap()))
        };
        assert_eq!(converted("int64", "41"), Ok("41".into()));
        assert_eq!(converted("version", "2.10"), Ok("2.10.0".into()));
        assert_eq!(converted("string_set(;)", "a; b;;a"), Ok("a, b, a".into()));
        assert_eq!(
            converted("timestamp", "2026-01-31"),
            Ok("2026-01-31T00:00:00Z".into())
        );
        assert_eq!(
            converted("int64", "old"),
            Err("column \"x\": \"old\" is no int64 (to read the column otherwise: --types 'x=string')".into())
        );
        assert!(converted("double", "NaN").is_err());
        assert!(converted("string", &"x".repeat(1_025)).is_err());
    }
}
