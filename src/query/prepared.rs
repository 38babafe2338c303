//! An expression that is asked again and again.
//!
//! Invariant: what is answered is what binding anew would lead to. A bound expression is used again
//! only while the properties are the same and, if `now()` is in it, for the same instant; that the
//! codes of its literals are still theirs is looked at by every answer.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::bind::{Bound, bind_shared};
use super::bind_error::BindError;
use crate::model::{Expression, Timestamp};
use crate::population::Population;

/// An expression, and how it was bound last.
#[derive(Debug)]
pub struct Prepared {
    expression: Arc<Expression>,
    /// What is bound is remembered up to this size.
    most: u64,
    last: ArcSwapOption<Bound>,
}

impl Prepared {
    /// Prepares an expression for one population, or for each in turn.
    #[must_use]
    pub fn new(expression: Expression) -> Self {
        Self {
            expression: Arc::new(expression),
            most: u64::MAX,
            last: ArcSwapOption::empty(),
        }
    }

    /// Prepares an expression of which many may be held that name segments: what it is bound to is
    /// remembered only if it has no more than `most` nodes and values, with those of the segments.
    #[must_use]
    pub fn with_most(expression: Expression, most: u64) -> Self {
        Self {
            most,
            ..Self::new(expression)
        }
    }

    /// The expression.
    #[must_use]
    pub fn expression(&self) -> &Arc<Expression> {
        &self.expression
    }

    /// The expression bound to a population, `now()` being `as_of`.
    ///
    /// # Errors
    /// As for [`super::bind()`].
    pub fn bound(
        &self,
        population: &Population,
        as_of: Timestamp,
    ) -> Result<Arc<Bound>, BindError> {
        if let Some(last) = &*self.last.load()
            && last.is_current(population, as_of)
        {
            return Ok(Arc::clone(last));
        }
        let bound = Arc::new(bind_shared(population, &self.expression, as_of)?);
        if bound.size() <= self.most {
            self.last.store(Some(Arc::clone(&bound)));
        }
        Ok(bound)
    }
}

impl Prepared {
    /// The expression bound so that what it is bound to can be used without looking at dictionaries
    /// again: for as long as nothing is written.
    ///
    /// # Errors
    /// As for [`super::bind()`].
    pub(super) fn bound_alone(
        &self,
        population: &Population,
        as_of: Timestamp,
    ) -> Result<Arc<Bound>, BindError> {
        let bound = self.bound(population, as_of)?;
        if bound.is_exact(population) {
            return Ok(bound);
        }
        let bound = Arc::new(bind_shared(population, &self.expression, as_of)?);
        if bound.size() <= self.most {
            self.last.store(Some(Arc::clone(&bound)));
        }
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Action, Change, Comparison, NonEmpty, Operand, Operation, Predicate, PropertyName,
        Revision, Span, StoreLimits, Test, Text, UserId, UserUpdate, Value,
    };
    use crate::query::{Stop, count};

    fn name(name: &str) -> PropertyName {
        PropertyName::new(name).unwrap()
    }

    fn set(population: &Population, user: &str, property: &str, value: Value) {
        let update = UserUpdate {
            user: UserId::new(user).unwrap(),
            value_time: None,
            changes: vec![Change {
                property: name(property),
                operation: Operation::Set(value),
            }],
            events: Vec::new(),
        };
        let write = Action::Write(NonEmpty::one(update));
        population.apply(Revision::new(1), &write).unwrap();
    }

    fn equal(property: &str, operand: Operand) -> Prepared {
        Prepared::new(Expression::Predicate(Predicate {
            property: name(property),
            test: Test::Compare {
                comparison: Comparison::Equal,
                operand,
            },
        }))
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    fn text(text: &str) -> Value {
        Value::String(Text::new(text).unwrap())
    }

    #[test]
    fn it_is_bound_once_and_answers_what_is_true_now() {
        let population = Population::new(StoreLimits::default());
        let prepared = equal("plan", Operand::Value(text("pro")));
        assert!(prepared.bound(&population, at(0)).is_err());
        set(&population, "a", "plan", text("free"));
        let counted = |as_of| {
            let bound = prepared.bound(&population, at(as_of)).unwrap();
            (count(&population, &bound, &Stop::never()).unwrap(), bound)
        };
        let (before, first) = counted(0);
        assert!(before == 0 && Arc::ptr_eq(&first, &counted(1).1));
        // A text that nobody had gets a code.
        set(&population, "b", "plan", text("pro"));
        assert_eq!(counted(1).0, 1);
        let (after, second) = counted(1);
        assert!(after == 1 && !Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &counted(2).1));
        // The property becomes another one of the same name.
        let delete = Action::DeleteProperty(name("plan"));
        population.apply(Revision::new(2), &delete).unwrap();
        assert!(prepared.bound(&population, at(0)).is_err());
        set(&population, "c", "plan", text("pro"));
        assert_eq!(counted(2).0, 1);
    }

    #[test]
    fn what_is_large_is_bound_each_time() {
        let population = Population::new(StoreLimits::default());
        set(&population, "a", "plan", text("pro"));
        let expression = equal("plan", Operand::Value(text("pro")));
        let bound = |most| {
            let prepared = Prepared::with_most((**expression.expression()).clone(), most);
            let first = prepared.bound(&population, at(0)).unwrap();
            Arc::ptr_eq(&first, &prepared.bound(&population, at(0)).unwrap())
        };
        let size = expression.bound(&population, at(0)).unwrap().size();
        assert!(bound(size) && !bound(size - 1));
    }

    #[test]
    fn now_is_the_instant_asked_for() {
        let population = Population::new(StoreLimits::default());
        set(&population, "a", "seen", Value::Timestamp(at(500)));
        let span = Span::from_micros(-500).unwrap();
        let prepared = equal("seen", Operand::AsOfPlus(span));
        for (as_of, users) in [(0, 0), (1_000, 1), (1_000, 1), (1_001, 0)] {
            let bound = prepared.bound(&population, at(as_of)).unwrap();
            assert_eq!(count(&population, &bound, &Stop::never()), Ok(users));
        }
    }
}
