//! Reads tests of buckets: `bucket('spring-test', 100) < 10`.

use super::{Parsed, Parser};
use crate::filter::error::Fault;
use crate::filter::help;
use crate::filter::token::{Kind, shorten};
use crate::model::{
    BucketError, BucketPredicate, BucketTest, Buckets, Comparison, Expression, NonEmpty, Salt,
};

/// A division into buckets.
type Divided = (Salt, Buckets);

impl Parser<'_> {
    /// Whether a test of buckets starts here. Without a parenthesis it is a property.
    pub(super) fn at_bucket(&self) -> bool {
        self.at_word("bucket") && self.following() == Kind::Symbol("(")
    }

    pub(super) fn bucket_predicate(&mut self) -> Result<Parsed, Fault> {
        let start = self.current.start;
        let divided = self.divided()?;
        if let Some(comparison) = self.comparison() {
            self.advance()?;
            return self.bucket_compared(start, &divided, comparison);
        }
        let negated = self.accept_word("NOT")?;
        if self.accept_word("IN")? {
            let written = self.list("the number of a bucket", "IN (1, 2)", Self::bucket_number)?;
            let mut numbers = Vec::with_capacity(written.len());
            for (at, number) in written.into_vec() {
                let number = BucketTest::listed(number, divided.1);
                numbers.push(number.map_err(|error| fault(at, error))?);
            }
            let numbers = NonEmpty::new(numbers).ok_or_else(|| self.expected("a bucket"))?;
            return self.bucket(start, divided, BucketTest::In { numbers, negated });
        }
        if self.accept_word("BETWEEN")? {
            let low = self.bucket_compared(start, &divided, Comparison::GreaterOrEqual)?;
            if !self.accept_word("AND")? {
                return Err(self
                    .expected("AND and the upper bound")
                    .help("both bounds belong to it: bucket('test', 100) BETWEEN 10 AND 19"));
            }
            let high = self.bucket_compared(start, &divided, Comparison::LessOrEqual)?;
            let mut both = NonEmpty::one(low.expression);
            both.push(high.expression);
            let both = self.node(start, 2, Expression::And(both))?;
            return if negated {
                self.complement(start, both)
            } else {
                Ok(both)
            };
        }
        Err(if negated {
            self.expected("IN or BETWEEN")
                .maybe_help(help::after_not(&self.current.kind))
        } else {
            self.expected("a comparison such as `<`, `=`, IN or BETWEEN")
                .maybe_help(help::in_place_of_bucket_test(&self.current.kind))
        })
    }

    /// The salt, and how many buckets there are.
    fn divided(&mut self) -> Result<Divided, Fault> {
        self.advance()?;
        self.advance()?;
        let at = self.current.start;
        let Kind::Text(salt) = &self.current.kind else {
            return Err(self
                .expected("a salt in single quotes")
                .help(help::BUCKET_EXAMPLE));
        };
        let salt = Salt::new(salt.as_ref()).map_err(|error| fault(at, error))?;
        self.advance()?;
        if !self.accept_symbol(",")? {
            return Err(self
                .expected("`,` and the number of buckets")
                .help(help::BUCKET_EXAMPLE));
        }
        let (at, buckets) = self.bucket_number()?;
        let buckets = Buckets::new(buckets).map_err(|error| fault(at, error))?;
        if !self.accept_symbol(")")? {
            return Err(self.expected("`)`").maybe_help(help::after_value(
                self.previous,
                self.adjacent(),
                &self.current.kind,
            )));
        }
        Ok((salt, buckets))
    }

    /// A whole number, and where it stands.
    fn bucket_number(&mut self) -> Result<(usize, u64), Fault> {
        let at = self.current.start;
        let number = match self.current.kind {
            Kind::Number(digits) => digits.parse().ok(),
            Kind::Word(_)
            | Kind::QuotedName(_)
            | Kind::Text(_)
            | Kind::Suffixed(_)
            | Kind::Symbol(_)
            | Kind::End => None,
        };
        let Some(number) = number else {
            return Err(self.expected("a whole number of at least 0"));
        };
        self.advance()?;
        Ok((at, number))
    }

    fn bucket_compared(
        &mut self,
        start: usize,
        divided: &Divided,
        comparison: Comparison,
    ) -> Result<Parsed, Fault> {
        let (at, number) = self.bucket_number()?;
        let test = BucketTest::compare(comparison, number, divided.1);
        let test = test.map_err(|error| fault(at, error))?;
        self.bucket(start, divided.clone(), test)
    }

    fn bucket(
        &mut self,
        start: usize,
        (salt, buckets): Divided,
        test: BucketTest,
    ) -> Result<Parsed, Fault> {
        let predicate = BucketPredicate::new(salt, buckets, test);
        self.node(start, 1, Expression::Bucket(Box::new(predicate)))
    }
}

/// What is wrong with a number or a salt that stands somewhere.
fn fault(at: usize, error: BucketError) -> Fault {
    match error {
        BucketError::Limit(exceeded) => Fault::limit(at, exceeded),
        BucketError::Nul { .. } => Fault::new(at, "a salt without NUL", "a salt with one"),
        BucketError::None => Fault::new(at, "a number of buckets of at least 1", "the number 0"),
        BucketError::Number { number, buckets } => Fault::new(
            at,
            format!("the number of a bucket, 0 to {}", buckets - 1),
            format!("the number {}", shorten(&number.to_string())),
        ),
    }
}
