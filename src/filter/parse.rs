//! Reads tokens into an expression: one function for each rule of the grammar.
//!
//! Invariant: every step down costs a level, and levels are limited, so that no text can exhaust
//! the stack; every node is accounted for when it is made.

mod bucket;
mod event;

use super::error::Fault;
use super::help;
use super::literal;
use super::token::{Kind, Lexer, Token};
use crate::model::{
    Comparison, EventMeasure, Expression, ExpressionBudget, LimitExceeded, NameError, NonEmpty,
    Operand, Predicate, PropertyName, Quantifier, RESERVED_WORDS, SegmentName, Span, Test, Text,
    Value, limit,
};

pub(super) fn parse(text: &str) -> Result<Expression, Fault> {
    let mut parser = Parser::new(text)?;
    if parser.current.kind == Kind::End {
        return Err(parser
            .expected("an expression")
            .help("the expression of every user is TRUE"));
    }
    let parsed = parser.any_of(1)?;
    if parser.current.kind == Kind::End {
        Ok(parsed.expression)
    } else {
        Err(parser.expected_after_expression("AND, OR or the end of the text"))
    }
}

/// A function of events alone, without anything that it is compared with.
pub(super) fn parse_measure(text: &str) -> Result<EventMeasure, Fault> {
    let mut parser = Parser::new(text)?;
    let measure = parser.events()?;
    if parser.current.kind == Kind::End {
        Ok(measure)
    } else {
        Err(parser.expected("the end of the text"))
    }
}

/// Whether the first tokens are those of a function of events.
pub(super) fn begins_measure(text: &str) -> bool {
    Parser::new(text).is_ok_and(|parser| parser.at_event_function())
}

/// An expression and how many levels it has.
struct Parsed {
    expression: Expression,
    height: u64,
}

pub(super) struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    current: Token<'a>,
    /// The token before the current one, as it was written.
    previous: &'a str,
    budget: ExpressionBudget,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, Fault> {
        if let Err(exceeded) = limit::FILTER_BYTES.check(text.len() as u64) {
            // The place is where the limit is passed, or the start of the character there.
            let allowed = usize::try_from(exceeded.allowed).unwrap_or(usize::MAX);
            return Err(Fault::limit(text.floor_char_boundary(allowed), exceeded));
        }
        let mut lexer = Lexer::new(text);
        let current = lexer.next()?;
        Ok(Self {
            text,
            lexer,
            current,
            previous: "",
            budget: ExpressionBudget::default(),
        })
    }

    // Combinations.

    fn any_of(&mut self, level: u64) -> Result<Parsed, Fault> {
        self.joined("OR", level, Self::all_of, Expression::Or)
    }

    fn all_of(&mut self, level: u64) -> Result<Parsed, Fault> {
        self.joined("AND", level, Self::not, Expression::And)
    }

    fn joined(
        &mut self,
        keyword: &str,
        level: u64,
        operand: fn(&mut Self, u64) -> Result<Parsed, Fault>,
        combination: fn(NonEmpty<Expression>) -> Expression,
    ) -> Result<Parsed, Fault> {
        let start = self.current.start;
        let first = operand(self, level)?;
        if !self.at_word(keyword) {
            return Ok(first);
        }
        let mut height = first.height;
        let mut operands = NonEmpty::one(first.expression);
        while self.accept_word(keyword)? {
            let next = operand(self, level)?;
            height = height.max(next.height);
            operands.push(next.expression);
        }
        self.node(start, height + 1, combination(operands))
    }

    fn not(&mut self, level: u64) -> Result<Parsed, Fault> {
        let start = self.current.start;
        if !self.at_word("NOT") {
            return self.primary(level);
        }
        let level = self.deeper(level)?;
        self.advance()?;
        let operand = self.not(level)?;
        self.complement(start, operand)
    }

    fn complement(&mut self, start: usize, operand: Parsed) -> Result<Parsed, Fault> {
        let height = operand.height + 1;
        self.node(start, height, Expression::Not(Box::new(operand.expression)))
    }

    fn primary(&mut self, level: u64) -> Result<Parsed, Fault> {
        let start = self.current.start;
        if self.at_symbol("(") {
            let level = self.deeper(level)?;
            self.advance()?;
            if self.at_symbol(")") {
                return Err(self.expected("an expression"));
            }
            let inner = self.any_of(level)?;
            if !self.accept_symbol(")")? {
                return Err(self.expected_after_expression("AND, OR or `)`"));
            }
            return Ok(inner);
        }
        if self.at_word("TRUE") || self.at_word("FALSE") {
            let negated = self.at_word("FALSE");
            self.advance()?;
            let everyone = self.node(start, 1, Expression::Everyone)?;
            return if negated {
                self.complement(start, everyone)
            } else {
                Ok(everyone)
            };
        }
        // No test starts with LEAST, so this can't be a property called `at`.
        if self.at_word("AT") && self.following().is_word("LEAST") {
            return self.at_least(level);
        }
        if self.at_event_function() {
            return self.event_predicate();
        }
        if self.at_bucket() {
            return self.bucket_predicate();
        }
        if self.at_word("segment") && self.following() == Kind::Symbol("(") {
            return self.segment();
        }
        self.predicate()
    }

    /// `segment('name')`.
    fn segment(&mut self) -> Result<Parsed, Fault> {
        let start = self.current.start;
        self.advance()?;
        self.advance()?;
        let Kind::Text(name) = &self.current.kind else {
            return Err(self
                .expected("the name of a segment in single quotes")
                .help("for example segment('vip')"));
        };
        let name = SegmentName::new(name.as_ref());
        let name = self.named(name, "the name of a segment")?;
        if !self.accept_symbol(")")? {
            return Err(self.expected("`)`"));
        }
        self.node(start, 1, Expression::Segment(name))
    }

    fn at_least(&mut self, level: u64) -> Result<Parsed, Fault> {
        let start = self.current.start;
        let level = self.deeper(level)?;
        self.advance()?;
        self.advance()?;

        let count_at = self.current.start;
        let Kind::Number(digits) = self.current.kind else {
            return Err(self.expected("a whole number"));
        };
        let count = digits.parse();
        self.advance()?;
        if !self.accept_word("OF")? {
            return Err(self.expected("OF"));
        }
        if !self.accept_symbol("(")? {
            return Err(self.expected("`(` and a list of expressions"));
        }
        if self.at_symbol(")") {
            return Err(self
                .expected("an expression")
                .help("an empty list is an error: there is nothing to count"));
        }
        let first = self.any_of(level)?;
        let mut height = first.height;
        let mut operands = NonEmpty::one(first.expression);
        while self.accept_symbol(",")? {
            let next = self.any_of(level)?;
            height = height.max(next.height);
            operands.push(next.expression);
        }
        if !self.accept_symbol(")")? {
            return Err(self.expected_after_expression("AND, OR, `,` or `)`"));
        }
        match count {
            Ok(count) if fits(count, operands.len()) => self.node(
                start,
                height + 1,
                Expression::AtLeast {
                    count,
                    of: operands,
                },
            ),
            _ => Err(Fault::new(
                count_at,
                format!(
                    "a whole number from 1 to {}, the number of expressions in the list",
                    operands.len()
                ),
                format!("the number {}", super::token::shorten(digits)),
            )),
        }
    }

    // Predicates.

    fn predicate(&mut self) -> Result<Parsed, Fault> {
        let start = self.current.start;
        let property = self.property()?;
        let Some(comparison) = self.comparison() else {
            return self.keyword_test(start, property);
        };
        let at = self.current.start;
        self.advance()?;
        if self.at_word("NULL") {
            let test = match comparison {
                Comparison::NotEqual => "IS SET",
                Comparison::Equal
                | Comparison::Less
                | Comparison::LessOrEqual
                | Comparison::Greater
                | Comparison::GreaterOrEqual => "IS NOT SET",
            };
            return Err(self.expected("a value").help(format!(
                "nothing compares with NULL: whether there is a value is asked by {test}"
            )));
        }
        if self.at_symbol("(") {
            let list = match comparison {
                Comparison::Equal => "a list needs IN: property IN ('a', 'b')",
                Comparison::NotEqual => "a list needs NOT IN: property NOT IN ('a', 'b')",
                Comparison::Less
                | Comparison::LessOrEqual
                | Comparison::Greater
                | Comparison::GreaterOrEqual => "values stand without parentheses",
            };
            return Err(self.expected("a value").help(list));
        }
        if self.current.start == at + 1 && self.at_symbol("=") {
            return Err(self.expected("a value").help("write `=` to compare"));
        }
        let operand = self.operand()?;
        self.test(
            start,
            property,
            Test::Compare {
                comparison,
                operand,
            },
        )
    }

    /// The tests that start with a keyword.
    fn keyword_test(&mut self, start: usize, property: PropertyName) -> Result<Parsed, Fault> {
        if self.accept_word("IS")? {
            let negated = self.accept_word("NOT")?;
            if !self.accept_word("SET")? && !self.accept_word("NULL")? {
                let expected = if negated {
                    "SET or NULL"
                } else {
                    "SET, NOT SET, NULL or NOT NULL"
                };
                return Err(self
                    .expected(expected)
                    .maybe_help(help::after_is(&self.current.kind, negated)));
            }
            // `IS NULL` asks for no value, `IS SET` for one.
            let null = self.previous.eq_ignore_ascii_case("NULL");
            return self.test(
                start,
                property,
                Test::IsSet {
                    negated: negated != null,
                },
            );
        }
        if self.accept_word("HAS")? {
            let quantifier = self.quantifier()?;
            let elements = self.list(
                "a text in single quotes",
                "HAS ANY ('a', 'b')",
                Self::element,
            )?;
            return self.test(
                start,
                property,
                Test::Has {
                    quantifier,
                    elements,
                },
            );
        }
        let negated = self.accept_word("NOT")?;
        if self.accept_word("IN")? {
            let values = self.list("a value", "IN ('a', 'b')", |parser| parser.value("a value"))?;
            return self.test(start, property, Test::In { values, negated });
        }
        if self.accept_word("BETWEEN")? {
            let between = self.between(start, property)?;
            return if negated {
                self.complement(start, between)
            } else {
                Ok(between)
            };
        }
        Err(if negated {
            self.expected("IN or BETWEEN")
                .maybe_help(help::after_not(&self.current.kind))
        } else {
            self.expected("a test such as `=`, `<`, IN, BETWEEN, HAS or IS")
                .maybe_help(help::in_place_of_test(
                    self.previous,
                    &self.current.kind,
                    &self.following(),
                ))
        })
    }

    fn between(&mut self, start: usize, property: PropertyName) -> Result<Parsed, Fault> {
        let low = self.operand()?;
        if !self.accept_word("AND")? {
            return Err(self
                .expected("AND and the upper bound")
                .help("both bounds belong to it: property BETWEEN 1 AND 5"));
        }
        let high = self.operand()?;
        let compare = |property, comparison, operand| {
            Expression::Predicate(Predicate {
                property,
                test: Test::Compare {
                    comparison,
                    operand,
                },
            })
        };
        let low = compare(property.clone(), Comparison::GreaterOrEqual, low);
        let high = compare(property, Comparison::LessOrEqual, high);
        let mut both = NonEmpty::one(self.node(start, 1, low)?.expression);
        both.push(self.node(start, 1, high)?.expression);
        self.node(start, 2, Expression::And(both))
    }

    fn test(&mut self, start: usize, property: PropertyName, test: Test) -> Result<Parsed, Fault> {
        self.node(
            start,
            1,
            Expression::Predicate(Predicate { property, test }),
        )
    }

    fn property(&mut self) -> Result<PropertyName, Fault> {
        let name = match &self.current.kind {
            Kind::QuotedName(name) => PropertyName::new(name.as_ref()),
            Kind::Word(word) if !is_reserved(word) => {
                if let Some(help) = help::function(word, &self.following()) {
                    return Err(self.expected("a property").help(help));
                }
                PropertyName::new(*word)
            }
            Kind::Word(_)
            | Kind::Text(_)
            | Kind::Number(_)
            | Kind::Suffixed(_)
            | Kind::Symbol(_)
            | Kind::End => {
                let help = help::in_place_of_expression(&self.current.kind);
                return Err(self.expected("an expression").maybe_help(help));
            }
        };
        self.named(name, "a property's name")
    }

    /// Goes on behind the current token, if what it says is a name.
    fn named<T>(&mut self, name: Result<T, NameError>, what: &str) -> Result<T, Fault> {
        match name {
            Ok(name) => {
                self.advance()?;
                Ok(name)
            }
            Err(NameError::TooLong(exceeded)) => Err(self.limit(exceeded)),
            Err(NameError::Empty) => Err(self.expected(what)),
            Err(NameError::Character { .. }) => {
                Err(self.expected(format!("{what} without control characters")))
            }
        }
    }

    fn comparison(&self) -> Option<Comparison> {
        let Kind::Symbol(symbol) = self.current.kind else {
            return None;
        };
        match symbol {
            "=" => Some(Comparison::Equal),
            "!=" | "<>" => Some(Comparison::NotEqual),
            "<" => Some(Comparison::Less),
            "<=" => Some(Comparison::LessOrEqual),
            ">" => Some(Comparison::Greater),
            ">=" => Some(Comparison::GreaterOrEqual),
            _ => None,
        }
    }

    fn quantifier(&mut self) -> Result<Quantifier, Fault> {
        let quantifier = if self.at_word("ANY") {
            Quantifier::Any
        } else if self.at_word("ALL") {
            Quantifier::All
        } else if self.at_word("NONE") {
            Quantifier::None
        } else {
            return Err(self
                .expected("ANY, ALL or NONE")
                .help("sets are tested by HAS ANY ('a', 'b'), HAS ALL (..) and HAS NONE (..)"));
        };
        self.advance()?;
        Ok(quantifier)
    }

    // Values.

    fn list<T>(
        &mut self,
        what: &str,
        example: &str,
        item: fn(&mut Self) -> Result<T, Fault>,
    ) -> Result<NonEmpty<T>, Fault> {
        if !self.accept_symbol("(")? {
            return Err(self
                .expected("`(` and a list")
                .help(format!("a list stands in parentheses: {example}")));
        }
        if self.at_symbol(")") {
            return Err(self
                .expected(what)
                .help("an empty list is an error: it would select nobody"));
        }
        let mut items = NonEmpty::one(item(self)?);
        while self.accept_symbol(",")? {
            let start = self.current.start;
            limit::LIST_VALUES
                .check(items.len() as u64 + 1)
                .map_err(|exceeded| Fault::limit(start, exceeded))?;
            items.push(item(self)?);
        }
        if !self.accept_symbol(")")? {
            return Err(self.expected("`,` or `)`").maybe_help(help::after_value(
                self.previous,
                self.adjacent(),
                &self.current.kind,
            )));
        }
        Ok(items)
    }

    /// An element of a set.
    fn element(&mut self) -> Result<Text, Fault> {
        let start = self.current.start;
        match self.value("a text in single quotes")? {
            Value::String(text) => Ok(text),
            Value::Bool(_)
            | Value::StringSet(_)
            | Value::Int64(_)
            | Value::Double(_)
            | Value::Timestamp(_)
            | Value::Version(_) => {
                let written = self.text.get(start..).unwrap_or_default();
                let end = written.find([',', ')']).unwrap_or(written.len());
                let (written, _) = written.split_at(end);
                Err(Fault::new(
                    start,
                    "a text in single quotes",
                    super::token::quote(written.trim_end()),
                )
                .help("the elements of sets are texts"))
            }
        }
    }

    fn operand(&mut self) -> Result<Operand, Fault> {
        if self.at_now() {
            return self.now().map(Operand::AsOfPlus);
        }
        self.value("a value").map(Operand::Value)
    }

    fn at_now(&self) -> bool {
        self.at_word("now") && self.following() == Kind::Symbol("(")
    }

    /// How far an instant is from that of the question.
    fn now(&mut self) -> Result<Span, Fault> {
        self.advance()?;
        self.advance()?;
        if !self.accept_symbol(")")? {
            return Err(self.expected("`)`").help(
                "the instant of the question is now(); spans are added after it: now() - 30d",
            ));
        }
        self.span()
    }

    /// What is added to `now()`.
    fn span(&mut self) -> Result<Span, Fault> {
        let future = self.at_symbol("+");
        if !future && !self.at_symbol("-") {
            return Ok(Span::ZERO);
        }
        self.advance()?;
        let Kind::Suffixed(written) = self.current.kind else {
            return Err(self.expected("a span of time such as 30d").help(help::SPAN));
        };
        let span: Span = written.parse().map_err(|error| {
            self.expected("a span of time such as 30d")
                .help(help::span(&error))
        })?;
        self.advance()?;
        Ok(if future { span } else { span.reversed() })
    }

    fn value(&mut self, what: &str) -> Result<Value, Fault> {
        let start = self.current.start;
        let value = match &self.current.kind {
            Kind::Text(text) => Value::String(
                Text::new(text.as_ref()).map_err(|exceeded| Fault::limit(start, exceeded))?,
            ),
            Kind::Number(digits) => {
                literal::number(digits, false).map_err(|problem| problem.at(start, digits))?
            }
            Kind::Symbol("-") => {
                let Kind::Number(digits) = self.following() else {
                    return Err(self.expected(what));
                };
                self.advance()?;
                literal::number(digits, true)
                    .map_err(|problem| problem.at(start, &format!("-{digits}")))?
            }
            Kind::Word(word) if word.eq_ignore_ascii_case("TRUE") => Value::Bool(true),
            Kind::Word(word) if word.eq_ignore_ascii_case("FALSE") => Value::Bool(false),
            Kind::Word(word) => {
                let word = *word;
                let Kind::Text(text) = self.following() else {
                    let help = help::word_in_place_of_value(word, &self.following());
                    return Err(self.expected(what).maybe_help(help));
                };
                let Some(read) = literal::prefixed(word) else {
                    return Err(self.expected(what).help(
                        "the words that stand before a text are TIMESTAMP, DATE and VERSION",
                    ));
                };
                self.advance()?;
                let start = self.current.start;
                read(&text).map_err(|problem| problem.at(start, &format!("'{text}'")))?
            }
            Kind::QuotedName(_) | Kind::Suffixed(_) | Kind::Symbol(_) | Kind::End => {
                let help = help::in_place_of_value(&self.current.kind);
                return Err(self.expected(what).maybe_help(help));
            }
        };
        self.advance()?;
        Ok(value)
    }

    // Accounting.

    /// The level below, or the error at the token that would start it.
    fn deeper(&self, level: u64) -> Result<u64, Fault> {
        ExpressionBudget::level(level + 1)
            .map(|()| level + 1)
            .map_err(|exceeded| self.limit(exceeded))
    }

    fn limit(&self, exceeded: LimitExceeded) -> Fault {
        Fault::limit(self.current.start, exceeded)
    }

    /// Accounts for a node that starts somewhere and has so many levels.
    fn node(&mut self, start: usize, height: u64, expression: Expression) -> Result<Parsed, Fault> {
        self.budget
            .node(height)
            .map_err(|exceeded| Fault::limit(start, exceeded))?;
        Ok(Parsed { expression, height })
    }

    // Tokens.

    fn advance(&mut self) -> Result<(), Fault> {
        let next = self.lexer.next()?;
        self.previous = self
            .text
            .get(self.current.start..self.current.end)
            .unwrap_or_default();
        self.current = next;
        Ok(())
    }

    /// The token after the current one; the end if there is none or it is broken, which is told
    /// when it is reached.
    fn following(&self) -> Kind<'a> {
        self.lexer
            .clone()
            .next()
            .map_or(Kind::End, |token| token.kind)
    }

    /// Whether nothing stands between the current token and the one before.
    fn adjacent(&self) -> bool {
        self.text
            .get(..self.current.start)
            .is_some_and(|before| before.ends_with(self.previous))
    }

    fn at_word(&self, keyword: &str) -> bool {
        self.current.kind.is_word(keyword)
    }

    fn at_symbol(&self, symbol: &str) -> bool {
        matches!(self.current.kind, Kind::Symbol(at) if at == symbol)
    }

    fn accept_word(&mut self, keyword: &str) -> Result<bool, Fault> {
        let accepted = self.at_word(keyword);
        if accepted {
            self.advance()?;
        }
        Ok(accepted)
    }

    fn accept_symbol(&mut self, symbol: &str) -> Result<bool, Fault> {
        let accepted = self.at_symbol(symbol);
        if accepted {
            self.advance()?;
        }
        Ok(accepted)
    }

    // Errors.

    fn expected(&self, what: impl Into<String>) -> Fault {
        Fault::new(self.current.start, what, self.current.kind.describe())
    }

    fn expected_after_expression(&self, what: &str) -> Fault {
        self.expected(what).maybe_help(help::after_expression(
            self.previous,
            self.adjacent(),
            &self.current.kind,
        ))
    }
}

fn fits(count: std::num::NonZeroU32, operands: usize) -> bool {
    usize::try_from(count.get()).is_ok_and(|count| count <= operands)
}

pub(super) fn is_reserved(word: &str) -> bool {
    RESERVED_WORDS
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(word))
}
