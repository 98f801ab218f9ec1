use super::*;
use crate::fhir::{AccessTokenSource, BoxFuture, SecretToken, TokenError};
use jiff::SignedDuration;

/// Keeps a grant in memory.
struct Memory(Mutex<StoredGrant>);

impl GrantStore for Memory {
    fn load(&self) -> BoxFuture<'_, Result<Option<StoredGrant>, StoreFault>> {
        Box::pin(async { Ok(Some(self.0.lock().unwrap().clone())) })
    }
    fn take_refresh_token(&self) -> BoxFuture<'_, Result<Option<SecretToken>, StoreFault>> {
        Box::pin(async { Ok(self.0.lock().unwrap().refresh_token.take()) })
    }
    fn replace(&self, grant: StoredGrant) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(async {
            *self.0.lock().unwrap() = grant;
            Ok(())
        })
    }
}

async fn start(refresh_token: Option<&str>) -> (Ehr, Arc<UserGrant>, Arc<Memory>) {
    let ehr = Ehr::start().await;
    let store = Arc::new(Memory(Mutex::new(StoredGrant {
        access_token: SecretToken::new("access-1"),
        expires_at: ehr.clock.now() + SignedDuration::from_mins(10),
        refresh_token: refresh_token.map(SecretToken::new),
    })));
    let grant = UserGrant::new(ehr.smart.clone(), ehr.registration(), Arc::clone(&store) as Arc<dyn GrantStore>);
    (ehr, Arc::new(grant), store)
}

fn second(refresh_token: Option<&str>) -> Value {
    json!({"access_token": "access-2", "token_type": "Bearer", "expires_in": 600, "refresh_token": refresh_token})
}

#[tokio::test]
async fn a_refresh_happens_once_and_its_token_is_replaced() {
    let (ehr, grant, store) = start(Some("refresh-1")).await;
    ehr.put("/token", second(Some("refresh-2")));
    assert_eq!(grant.token().await.unwrap().expose(), "access-1");
    ehr.clock.advance(SignedDuration::from_secs(590));
    let both = tokio::join!(grant.token(), grant.token());
    assert_eq!((both.0.unwrap().expose(), both.1.unwrap().expose()), ("access-2", "access-2"));
    let [request] = &ehr.requests("/token").await[..] else { panic!("one refresh") };
    let form = form(request);
    assert_eq!((form["grant_type"].as_str(), form["refresh_token"].as_str()), ("refresh_token", "refresh-1"));
    assert!(form.contains_key("client_assertion"));
    assert_eq!(store.0.lock().unwrap().refresh_token.as_ref().unwrap().expose(), "refresh-2");
}

#[tokio::test]
async fn a_server_that_sends_no_new_refresh_token_keeps_the_old() {
    let (ehr, grant, store) = start(Some("refresh-1")).await;
    ehr.put("/token", second(None));
    grant.invalidate(&SecretToken::new("access-1"));
    assert_eq!(grant.token().await.unwrap().expose(), "access-2");
    assert_eq!(store.0.lock().unwrap().refresh_token.as_ref().unwrap().expose(), "refresh-1");
}

#[tokio::test]
async fn a_refresh_token_whose_answer_was_lost_is_not_used_again() {
    let (ehr, grant, _) = start(Some("refresh-1")).await;
    ehr.answer("/token", ResponseTemplate::new(502));
    ehr.clock.advance(SignedDuration::from_mins(11));
    assert_eq!(grant.token().await.unwrap_err(), TokenError::SignInAgain);
    ehr.put("/token", second(Some("refresh-2")));
    assert_eq!(grant.token().await.unwrap_err(), TokenError::SignInAgain);
    assert_eq!(ehr.requests("/token").await.len(), 1);
}

#[tokio::test]
async fn a_refresh_that_was_turned_away_can_be_tried_again() {
    let (ehr, grant, _) = start(Some("refresh-1")).await;
    ehr.answer("/token", ResponseTemplate::new(429));
    ehr.clock.advance(SignedDuration::from_mins(11));
    assert_eq!(grant.token().await.unwrap_err(), TokenError::Throttled { retry_after: None });
    ehr.put("/token", second(Some("refresh-2")));
    assert_eq!(grant.token().await.unwrap().expose(), "access-2");
}

#[tokio::test]
async fn without_a_refresh_token_the_grant_ends_with_its_access_token() {
    let (ehr, grant, _) = start(None).await;
    ehr.clock.advance(SignedDuration::from_secs(599));
    assert_eq!(grant.token().await.unwrap().expose(), "access-1");
    ehr.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(grant.token().await.unwrap_err(), TokenError::SignInAgain);
}
